package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgconn/stmtcache"
	"github.com/jackc/pgx/v4"
)

var ctx = context.Background()

// pgx v4, its native interface: extended protocol, binary values, a cache of prepared statements.
func main() {
	db := connect(nil)
	defer db.Close(ctx)
	pid, err := number(db, "SELECT pg_backend_pid()")
	if err != nil {
		panic(err)
	}
	same := func() error {
		now, err := number(db, "SELECT pg_backend_pid()")
		return all(err, equal(pid, now))
	}
	with := func(work func(*pgx.Conn) error) step { return func() error { return work(db) } }
	feature("read", "", with(read))
	feature("write", "also SendBatch, with an error in the middle", with(write), with(batch))
	feature("prepared", "also simple protocol, describe cache, no cache", with(prepared), everyMode)
	feature("transaction", "also with a savepoint and serializable", with(transaction), same)
	feature("cursor", "DECLARE, FETCH", with(cursor))
	feature("introspect", "types and columns", with(introspect))
	feature("copy-in", "text, and CopyFrom in binary", with(copyIn), with(copyFrom))
	feature("copy-out", "", with(copyOut))
	feature("cancel", "CancelRequest", with(cancel), same)
	feature("approved", "", with(approved), same)
	feature("denied", "alone, in a batch and in a transaction", refused(db, "_denied", "42501"), same)
	feature("timed-out", "alone, in a batch and in a transaction", refused(db, "_timed_out", "57014"), same)
}

func connect(change func(*pgx.ConnConfig)) *pgx.Conn {
	config, err := pgx.ParseConfig(os.Getenv("CLIENT_URL") + "?sslmode=disable")
	if err != nil {
		panic(err)
	}
	if change != nil {
		change(config)
	}
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		panic(err)
	}
	return db
}

func read(db *pgx.Conn) error {
	var name string
	var price float64
	err := db.QueryRow(ctx, "SELECT name, price FROM products WHERE id = $1", 17).Scan(&name, &price)
	rows, more := db.Query(ctx, "SELECT id, name FROM products WHERE id <= 10 ORDER BY id")
	if err := all(err, more, equal("Product 17 17.5", fmt.Sprint(name, " ", price))); err != nil {
		return err
	}
	defer rows.Close()
	id := int32(0)
	for expected := int32(1); rows.Next(); expected++ {
		if err := all(rows.Scan(&id, &name), equal(expected, id)); err != nil {
			return err
		}
	}
	return all(rows.Err(), equal(10, id), equal("Product 10", name))
}

func write(db *pgx.Conn) error {
	for id := 1; id <= 2; id++ {
		var made int
		err := db.QueryRow(ctx, "INSERT INTO "+tag+"_work VALUES ($1, $2) RETURNING id", id, "new").Scan(&made)
		if err := all(err, equal(id, made)); err != nil {
			return err
		}
	}
	return all(
		affected(db, 1, "UPDATE "+tag+"_work SET label = $1 WHERE id = $2", "written", 1),
		affected(db, 1, "DELETE FROM "+tag+"_work WHERE id = $1", 2),
	)
}

// batch sends Parse, Bind, Execute of many statements before one Sync: an implicit transaction.
func batch(db *pgx.Conn) error {
	good := &pgx.Batch{}
	for id := 1; id <= 60; id++ {
		good.Queue("SELECT name FROM products WHERE id = $1", id)
	}
	results := db.SendBatch(ctx, good)
	for id := 1; id <= 60; id++ {
		var name string
		if err := all(results.QueryRow().Scan(&name), equal(fmt.Sprint("Product ", id), name)); err != nil {
			return err
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	bad := &pgx.Batch{}
	bad.Queue("INSERT INTO "+tag+"_work VALUES ($1, 'lost')", 1000)
	bad.Queue("SELECT 1 / $1::int", 0)
	bad.Queue("INSERT INTO "+tag+"_work VALUES ($1, 'lost')", 1001)
	results = db.SendBatch(ctx, bad)
	_, first := results.Exec()
	_, second := results.Exec()
	_, third := results.Exec()
	results.Close()
	lost, err := number(db, "SELECT count(*)::int FROM "+tag+"_work WHERE id >= 1000")
	return all(first, state("22012", second, sqlstate), state("22012", third, sqlstate), err, equal(0, lost))
}

func prepared(db *pgx.Conn) error {
	if _, err := db.Prepare(ctx, "fill", "INSERT INTO "+tag+"_work VALUES ($1, 'prepared')"); err != nil {
		return err
	}
	return all(affected(db, 1, "fill", 11), affected(db, 1, "fill", 12), affected(db, 1, "fill", 13), db.Deallocate(ctx, "fill"))
}

// everyMode does the same in each of the driver's ways to talk to the server.
func everyMode() error {
	modes := map[string]func(*pgx.ConnConfig){
		"simple protocol": func(c *pgx.ConnConfig) { c.PreferSimpleProtocol = true },
		"no cache":        func(c *pgx.ConnConfig) { c.BuildStatementCache = nil },
		"describe cache": func(c *pgx.ConnConfig) {
			c.BuildStatementCache = func(conn *pgconn.PgConn) stmtcache.Cache {
				return stmtcache.New(conn, stmtcache.ModeDescribe, 8)
			}
		},
		"settings": func(c *pgx.ConnConfig) {
			c.RuntimeParams = map[string]string{"search_path": "public", "application_name": "reports", "DateStyle": "ISO"}
		},
	}
	for mode, change := range modes {
		db := connect(change)
		for id := 1; id <= 8; id++ {
			var name string
			err := db.QueryRow(ctx, "SELECT name FROM products WHERE id = $1 AND name <> $2", id, "it's").Scan(&name)
			if err := all(err, equal(fmt.Sprint("Product ", id), name)); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
		}
		db.Close(ctx)
	}
	return nil
}

func transaction(db *pgx.Conn) error {
	insert := func(id int, end func(pgx.Tx) error) error {
		tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO "+tag+"_work VALUES ($1, 'committed')", id)
		return all(err, end(tx))
	}
	return all(
		insert(21, func(tx pgx.Tx) error { return tx.Commit(ctx) }),
		insert(22, func(tx pgx.Tx) error { return tx.Rollback(ctx) }),
		insert(23, func(tx pgx.Tx) error {
			_, zero := tx.Exec(ctx, "SELECT 1 / $1::int", 0)
			_, aborted := tx.Exec(ctx, "SELECT 1")
			return all(state("22012", zero, sqlstate), state("25P02", aborted, sqlstate), tx.Rollback(ctx))
		}),
		insert(24, func(tx pgx.Tx) error {
			inner, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			_, zero := inner.Exec(ctx, "SELECT 1 / $1::int", 0)
			back := inner.Rollback(ctx)
			_, alive := tx.Exec(ctx, "SELECT 1")
			return all(state("22012", zero, sqlstate), back, alive, tx.Rollback(ctx))
		}),
	)
}

func cursor(db *pgx.Conn) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err = tx.Exec(ctx, "DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id"); err != nil {
		return err
	}
	for seen := 0; ; {
		rows, err := tx.Query(ctx, "FETCH 100 FROM pages")
		if err != nil {
			return err
		}
		page := 0
		for ; rows.Next(); page++ {
			var id int
			if err := all(rows.Scan(&id), equal(seen+page+1, id)); err != nil {
				return err
			}
		}
		if rows.Err() != nil || page == 0 {
			return all(rows.Err(), equal(300, seen), tx.Commit(ctx))
		}
		seen += page
	}
}

func introspect(db *pgx.Conn) error {
	description, err := db.Prepare(ctx, "described", "SELECT id, name, price FROM products WHERE id = $1")
	if err != nil {
		return err
	}
	types := []string{}
	for _, field := range description.Fields {
		kind, _ := db.ConnInfo().DataTypeForOID(field.DataTypeOID)
		types = append(types, kind.Name)
	}
	columns, err := number(db, "SELECT count(*)::int FROM information_schema.columns WHERE table_name = 'products'")
	return all(err, equal(3, columns), equal("int4 text numeric", strings.Join(types, " ")), equal(1, len(description.ParamOIDs)))
}

func copyIn(db *pgx.Conn) error {
	done, err := db.PgConn().CopyFrom(ctx, strings.NewReader("1\tplain\n"), "COPY "+tag+"_copy FROM STDIN")
	_, broken := db.PgConn().CopyFrom(ctx, strings.NewReader("four\tlost\n"), "COPY "+tag+"_copy FROM STDIN")
	return all(err, equal(1, done.RowsAffected()), state("22P02", broken, sqlstate))
}

func copyFrom(db *pgx.Conn) error {
	rows := [][]interface{}{{2, "ünï"}, {3, nil}}
	columns := []string{"id", "label"}
	done, err := db.CopyFrom(ctx, pgx.Identifier{tag + "_copy"}, columns, pgx.CopyFromRows(rows))
	_, broken := db.CopyFrom(ctx, pgx.Identifier{tag + "_copy"}, columns, pgx.CopyFromSlice(5, oneRow))
	return all(err, equal(2, done), equal(true, broken != nil && strings.Contains(broken.Error(), "no more")))
}

// oneRow fails after its first row: the driver ends the COPY with CopyFail.
func oneRow(index int) ([]interface{}, error) {
	if index == 0 {
		return []interface{}{5, "lost"}, nil
	}
	return nil, errors.New("no more rows")
}

func copyOut(db *pgx.Conn) error {
	var out bytes.Buffer
	done, err := db.PgConn().CopyTo(ctx, &out, "COPY "+tag+"_copy TO STDOUT")
	return all(err, equal(3, done.RowsAffected()), equal("1\tplain\n2\tünï\n3\t\\N\n", out.String()))
}

func cancel(db *pgx.Conn) error {
	ended := make(chan error, 1)
	go func() {
		_, err := db.Exec(ctx, "SELECT pg_sleep(10)")
		ended <- err
	}()
	for {
		select {
		case err := <-ended:
			return state("57014", err, sqlstate)
		case <-time.After(700 * time.Millisecond):
			// Again and again: on a busy machine the first may come before the statement.
			if err := db.PgConn().CancelRequest(ctx); err != nil {
				return err
			}
		}
	}
}

func approved(db *pgx.Conn) error {
	_, err := db.Exec(ctx, "CREATE TABLE "+tag+"_approved (id integer)")
	return err
}

func refused(db *pgx.Conn, suffix, expected string) step {
	sql := "CREATE TABLE " + tag + suffix + " (id integer)"
	return func() error {
		_, alone := db.Exec(ctx, sql)
		tx, err := db.Begin(ctx)
		if err != nil {
			return err
		}
		_, within := tx.Exec(ctx, sql)
		_, aborted := tx.Exec(ctx, "SELECT 1")
		err = tx.Rollback(ctx)
		group := &pgx.Batch{}
		group.Queue("INSERT INTO " + tag + "_work VALUES (99, 'lost')")
		group.Queue(sql)
		group.Queue("INSERT INTO " + tag + "_work VALUES (98, 'lost')")
		results := db.SendBatch(ctx, group)
		_, before := results.Exec()
		_, batched := results.Exec()
		results.Close()
		lost, after := number(db, "SELECT count(*)::int FROM "+tag+"_work WHERE id IN (98, 99)")
		return all(state(expected, alone, sqlstate), state(expected, within, sqlstate), state("25P02", aborted, sqlstate),
			err, before, state(expected, batched, sqlstate), after, equal(0, lost))
	}
}

func affected(db *pgx.Conn, expected int, sql string, parameters ...interface{}) error {
	done, err := db.Exec(ctx, sql, parameters...)
	return all(err, equal(expected, done.RowsAffected()))
}

func number(db *pgx.Conn, sql string) (int, error) {
	var value int
	err := db.QueryRow(ctx, sql).Scan(&value)
	return value, err
}

func sqlstate(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}
