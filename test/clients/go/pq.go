package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

var ctx = context.Background()

// lib/pq under database/sql, with a pool of one connection.
func main() {
	db := open()
	defer db.Close()
	pid, err := text(db, "SELECT pg_backend_pid()")
	if err != nil {
		panic(err)
	}
	same := func() error {
		now, err := text(db, "SELECT pg_backend_pid()")
		return all(err, equal(pid, now))
	}
	with := func(work func(*sql.DB) error) step { return func() error { return work(db) } }
	feature("read", "", with(read))
	feature("write", "", with(write))
	feature("prepared", "also binary_parameters", with(prepared), binary)
	feature("transaction", "also serializable and read only", with(transaction), same)
	feature("cursor", "DECLARE, FETCH", with(cursor))
	feature("introspect", "types and columns", with(introspect))
	feature("copy-in", "CopyIn", with(copyIn))
	feature("cancel", "a context; the driver never uses such a connection again, the pool opens another", cancel)
	feature("approved", "", with(approved), same)
	feature("denied", "alone, prepared and in a transaction", refused(db, "_denied", "42501"), same)
	feature("timed-out", "alone, prepared and in a transaction", refused(db, "_timed_out", "57014"), same)
}

func open(settings ...string) *sql.DB {
	url := os.Getenv("CLIENT_URL") + "?sslmode=disable"
	for _, setting := range settings {
		url += "&" + setting
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

func read(db *sql.DB) error {
	var name, price string
	err := db.QueryRow("SELECT name, price FROM products WHERE id = $1", 17).Scan(&name, &price)
	rows, more := db.Query("SELECT name FROM products WHERE id <= 10 ORDER BY id")
	if err := all(err, more, equal("Product 17 17.50", name+" "+price)); err != nil {
		return err
	}
	defer rows.Close()
	count := 0
	for rows.Next() {
		count++
		if err := all(rows.Scan(&name), equal(fmt.Sprint("Product ", count), name)); err != nil {
			return err
		}
	}
	return all(rows.Err(), equal(10, count))
}

func write(db *sql.DB) error {
	return all(
		affected(db, 1, "INSERT INTO "+tag+"_work VALUES ($1, 'new')", 1),
		affected(db, 1, "INSERT INTO "+tag+"_work VALUES (2, 'new')"),
		affected(db, 1, "UPDATE "+tag+"_work SET label = $1 WHERE id = $2", "written", 1),
		affected(db, 1, "DELETE FROM "+tag+"_work WHERE id = $1", 2),
	)
}

func prepared(db *sql.DB) error {
	insert, err := db.Prepare("INSERT INTO " + tag + "_work VALUES ($1, 'prepared')")
	if err != nil {
		return err
	}
	for id := 11; id <= 13; id++ {
		if _, err := insert.Exec(id); err != nil {
			return err
		}
	}
	return insert.Close()
}

// binary sends the parameters with the unnamed statement in one round trip.
func binary() error {
	db := open("binary_parameters=yes", "application_name=reports", "search_path=public")
	defer db.Close()
	for id := 1; id <= 8; id++ {
		var name string
		err := db.QueryRow("SELECT name FROM products WHERE id = $1 AND name::bytea <> $2", id, []byte("it's")).Scan(&name)
		if err := all(err, equal(fmt.Sprint("Product ", id), name)); err != nil {
			return err
		}
	}
	return nil
}

func transaction(db *sql.DB) error {
	insert := func(id int, end func(*sql.Tx) error) error {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO "+tag+"_work VALUES ($1, 'committed')", id)
		return all(err, end(tx))
	}
	return all(
		insert(21, func(tx *sql.Tx) error { return tx.Commit() }),
		insert(22, func(tx *sql.Tx) error { return tx.Rollback() }),
		insert(23, func(tx *sql.Tx) error {
			_, zero := tx.Exec("SELECT 1 / $1::int", 0)
			_, aborted := tx.Exec("SELECT 1")
			return all(state("22012", zero, sqlstate), state("25P02", aborted, sqlstate), tx.Rollback())
		}),
		readOnly(db),
	)
}

func readOnly(db *sql.DB) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO " + tag + "_work VALUES (24, 'lost')")
	return all(state("25006", err, sqlstate), tx.Rollback())
}

func cursor(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err = tx.Exec("DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id"); err != nil {
		return err
	}
	for seen := 0; ; {
		rows, err := tx.Query("FETCH 100 FROM pages")
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
			return all(rows.Err(), equal(300, seen), tx.Commit())
		}
		seen += page
	}
}

func introspect(db *sql.DB) error {
	rows, err := db.Query("SELECT id, name, price FROM products WHERE id = 1")
	if err != nil {
		return err
	}
	types, err := rows.ColumnTypes()
	rows.Close()
	columns, counted := text(db, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'products'")
	return all(err, counted, equal("3", columns), equal(3, len(types)), equal("NUMERIC", types[2].DatabaseTypeName()))
}

func copyIn(db *sql.DB) error {
	fill := func(rows [][]interface{}) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		copying, err := tx.Prepare(pq.CopyIn(tag+"_copy", "id", "label"))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if _, err := copying.Exec(row...); err != nil {
				return err
			}
		}
		_, err = copying.Exec()
		return all(err, copying.Close(), tx.Commit())
	}
	return all(
		fill([][]interface{}{{1, "plain"}, {2, "ünï"}, {3, nil}}),
		state("22P02", fill([][]interface{}{{"four", "lost"}}), sqlstate),
	)
}

func cancel() error {
	db := open()
	defer db.Close()
	first, err := text(db, "SELECT pg_backend_pid()")
	limited, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	_, cancelled := db.ExecContext(limited, "SELECT pg_sleep(10)")
	second, again := text(db, "SELECT pg_backend_pid()")
	return all(err, state("57014", cancelled, sqlstate), again, equal(true, first != second))
}

func approved(db *sql.DB) error {
	_, err := db.Exec("CREATE TABLE " + tag + "_approved (id integer)")
	return err
}

func refused(db *sql.DB, suffix, expected string) step {
	create := "CREATE TABLE " + tag + suffix + " (id integer)"
	return func() error {
		_, alone := db.Exec(create)
		statement, err := db.Prepare(create)
		if err != nil {
			return err
		}
		defer statement.Close()
		_, executed := statement.Exec()
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		_, before := tx.Exec("INSERT INTO " + tag + "_work VALUES (99, 'lost')")
		_, within := tx.Exec(create)
		_, aborted := tx.Exec("SELECT 1")
		back := tx.Rollback()
		lost, after := text(db, "SELECT count(*) FROM "+tag+"_work WHERE id = 99")
		return all(state(expected, alone, sqlstate), state(expected, executed, sqlstate), before,
			state(expected, within, sqlstate), state("25P02", aborted, sqlstate), back, after, equal("0", lost))
	}
}

func affected(db *sql.DB, expected int, query string, parameters ...interface{}) error {
	done, err := db.Exec(query, parameters...)
	if err != nil {
		return err
	}
	count, err := done.RowsAffected()
	return all(err, equal(expected, count))
}

func text(db *sql.DB, query string) (string, error) {
	var value string
	err := db.QueryRow(query).Scan(&value)
	return value, err
}

func sqlstate(err error) string {
	var answer *pq.Error
	if errors.As(err, &answer) {
		return string(answer.Code)
	}
	return ""
}
