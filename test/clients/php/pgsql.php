<?php
declare(strict_types=1);

require __DIR__ . '/report.php';

/** The pgsql extension: pg_* functions, nearer to libpq than PDO. */
function run(string $sql, array $parameters = []): PgSql\Result
{
    global $db;
    equal(true, $parameters === [] ? pg_send_query($db, $sql) : pg_send_query_params($db, $sql, $parameters));
    return last();
}

/** The last of the results that are on their way. */
function last(): PgSql\Result
{
    global $db;
    for ($last = null; ($next = pg_get_result($db)) !== false; $last = $next);
    return $last ?? throw new RuntimeException('no result');
}

/** The SQLSTATE of a result; an empty string when it is no error. */
function state(PgSql\Result $result): string
{
    return (string) pg_result_error_field($result, PGSQL_DIAG_SQLSTATE);
}

function value(string $sql): ?string
{
    return pg_fetch_result(run($sql), 0, 0);
}

$db = pg_connect(sprintf(
    "host=%s port=%s user=%s password='%s' dbname=%s sslmode=disable",
    ...array_map(static fn (string $name) => getenv("CLIENT_{$name}"), ['HOST', 'PORT', 'USER', 'PASSWORD', 'DATABASE']),
));
$tag = tag();
$pid = value('SELECT pg_backend_pid()');
$same = static fn () => equal($pid, value('SELECT pg_backend_pid()'));

feature('read', static function (): void {
    equal(['name' => 'Product 17', 'price' => '17.50'],
        pg_fetch_assoc(run('SELECT name, price FROM products WHERE id = $1', [17])));
    equal('Product 10', pg_fetch_all_columns(run('SELECT name FROM products WHERE id <= 10 ORDER BY id'))[9]);
});

feature('write', static function () use ($tag, &$db): string {
    equal(1, pg_affected_rows(run("INSERT INTO {$tag}_work VALUES ($1, $2)", [1, 'new'])));
    // Looks up the table's columns and their types by itself.
    pg_insert($db, "{$tag}_work", ['id' => 2, 'label' => 'new']);
    pg_update($db, "{$tag}_work", ['label' => 'written'], ['id' => 1]);
    equal([['id' => '2', 'label' => 'new']], pg_select($db, "{$tag}_work", ['id' => 2]));
    pg_delete($db, "{$tag}_work", ['id' => 2]);
    return 'also pg_insert, pg_update, pg_select, pg_delete';
});

feature('prepared', static function () use ($tag, &$db): void {
    pg_prepare($db, 'fill', "INSERT INTO {$tag}_work VALUES ($1, 'prepared')");
    foreach ([11, 12, 13] as $id) {
        equal(1, pg_affected_rows(pg_execute($db, 'fill', [$id])));
    }
    equal('', state(run('DEALLOCATE fill')));
});

feature('transaction', static function () use ($tag, &$db): void {
    $insert = static fn (int $id) => equal('', state(run("INSERT INTO {$tag}_work VALUES ({$id}, 'committed')")));
    run('BEGIN');
    $insert(21);
    run('COMMIT');
    run('BEGIN');
    $insert(22);
    equal(PGSQL_TRANSACTION_INTRANS, pg_transaction_status($db));
    run('ROLLBACK');
    run('BEGIN');
    $insert(23);
    equal('22012', state(run('SELECT 1 / 0')));
    equal(PGSQL_TRANSACTION_INERROR, pg_transaction_status($db));
    equal('25P02', state(run('SELECT 1')));
    run('ROLLBACK');
    equal(PGSQL_TRANSACTION_IDLE, pg_transaction_status($db));
}, $same);

feature('cursor', static function (): string {
    run('BEGIN');
    run('DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id');
    for ($last = 100; $last <= 300; $last += 100) {
        $page = pg_fetch_all_columns(run('FETCH 100 FROM pages'));
        equal([100, (string) $last], [count($page), end($page)]);
    }
    equal(0, pg_num_rows(run('FETCH 100 FROM pages')));
    run('CLOSE pages; COMMIT');
    return 'DECLARE, FETCH';
});

feature('introspect', static function () use ($tag, &$db): string {
    equal(['id', 'label'], array_keys(pg_meta_data($db, "{$tag}_work", true)));
    $row = run('SELECT id, name, price FROM products WHERE id = 1');
    equal(['numeric', 'products'], [pg_field_type($row, 2), pg_field_table($row, 2)]);
    return 'pg_meta_data, pg_field_type, pg_field_table';
});

feature('copy-in', static function () use ($tag, &$db): string {
    equal(true, pg_copy_from($db, "{$tag}_copy", ["1\tplain\n", "2\tünï\n"]));
    pg_query($db, "COPY {$tag}_copy FROM STDIN");
    pg_put_line($db, "3\t\\N\n");
    pg_put_line($db, "\\.\n");
    equal(true, pg_end_copy($db));
    try {
        $lost = pg_copy_from($db, "{$tag}_copy", ["four\tlost\n"]);
    } catch (ErrorException $error) {
        $lost = str_contains($error->getMessage(), 'invalid input syntax') ? null : $error->getMessage();
    }
    equal(null, $lost);
    equal('3', value("SELECT count(*) FROM {$tag}_copy"));
    return 'pg_copy_from, pg_put_line';
});

feature('copy-out', static function () use ($tag, &$db): void {
    equal(["1\tplain\n", "2\tünï\n", "3\t\\N\n"], pg_copy_to($db, "{$tag}_copy"));
});

feature('cancel', static function () use (&$db): string {
    run('BEGIN');
    pg_send_query($db, SLEEP);
    sleep(2);
    // Cancels, and reads the results away: what is left of the error is the transaction's state.
    equal(true, pg_cancel_query($db));
    equal(PGSQL_TRANSACTION_INERROR, pg_transaction_status($db));
    run('ROLLBACK');
    return 'pg_cancel_query, which takes the error for itself';
}, $same);

feature('approved', static function () use ($tag, &$db): void {
    equal('', state(run("CREATE TABLE {$tag}_approved (id integer)")));
    equal(true, str_starts_with((string) pg_last_notice($db), 'NOTICE:  countersign: held'));
}, $same);

foreach (['denied' => '42501', 'timed_out' => '57014'] as $name => $expected) {
    $sql = "CREATE TABLE {$tag}_{$name} (id integer)";
    feature(strtr($name, '_', '-'), static function () use ($tag, $sql, $expected, &$db): string {
        equal($expected, state(run($sql)));
        equal($expected, state(run("SELECT 1; {$sql}; SELECT 2")));
        equal(1, pg_affected_rows(run("INSERT INTO {$tag}_work VALUES (98, 'kept')")));
        run('BEGIN');
        run("DELETE FROM {$tag}_work WHERE id = 98");
        equal($expected, state(run($sql)));
        equal(PGSQL_TRANSACTION_INERROR, pg_transaction_status($db));
        run('ROLLBACK');
        equal(1, pg_affected_rows(run("DELETE FROM {$tag}_work WHERE id = 98")));
        return 'alone, among others and in a transaction';
    }, $same);
}
