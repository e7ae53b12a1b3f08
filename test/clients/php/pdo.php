<?php
declare(strict_types=1);

require __DIR__ . '/report.php';

/** PDO with pdo_pgsql. */
function connect(array $options = []): PDO
{
    $dsn = sprintf(
        'pgsql:host=%s;port=%s;dbname=%s;sslmode=disable',
        getenv('CLIENT_HOST'),
        getenv('CLIENT_PORT'),
        getenv('CLIENT_DATABASE'),
    );
    return new PDO($dsn, getenv('CLIENT_USER'), getenv('CLIENT_PASSWORD'), $options);
}

/** The SQLSTATE that it fails with. */
function state(callable $work): string
{
    try {
        $work();
        return '';
    } catch (PDOException $error) {
        return (string) $error->getCode();
    }
}

function value(PDO $db, string $sql): mixed
{
    return $db->query($sql)->fetchColumn();
}

$db = connect();
$tag = tag();
$pid = value($db, 'SELECT pg_backend_pid()');
$same = static fn () => equal($pid, value($db, 'SELECT pg_backend_pid()'));

feature('read', static function () use ($db): void {
    $one = $db->prepare('SELECT name, price FROM products WHERE id = :id');
    $one->execute(['id' => 17]);
    equal(['name' => 'Product 17', 'price' => '17.50'], $one->fetch(PDO::FETCH_ASSOC));
    $all = $db->query('SELECT name FROM products WHERE id <= 10 ORDER BY id')->fetchAll(PDO::FETCH_COLUMN);
    equal('Product 10', $all[9]);
});

feature('write', static function () use ($db, $tag): void {
    $insert = $db->prepare("INSERT INTO {$tag}_work VALUES (?, ?) RETURNING id");
    foreach ([1, 2] as $id) {
        $insert->execute([$id, 'new']);
        equal($id, $insert->fetchColumn());
    }
    equal(1, $db->exec("UPDATE {$tag}_work SET label = 'written' WHERE id = 1"));
    equal(1, $db->exec("DELETE FROM {$tag}_work WHERE id = 2"));
});

feature('prepared', static function () use ($db, $tag): string {
    $insert = $db->prepare("INSERT INTO {$tag}_work VALUES (?, 'prepared')");
    foreach ([11, 12, 13] as $id) {
        $insert->execute([$id]);
    }
    // The two other ways: no server-side statement, and no statement at all.
    foreach ([PDO::PGSQL_ATTR_DISABLE_PREPARES, PDO::ATTR_EMULATE_PREPARES] as $option) {
        $read = connect([$option => true])->prepare('SELECT name FROM products WHERE id = ? AND name <> ?');
        foreach ([7, 8] as $id) {
            $read->execute([$id, "it's \\"]);
            equal("Product {$id}", $read->fetchColumn());
        }
    }
    return 'also PGSQL_ATTR_DISABLE_PREPARES and ATTR_EMULATE_PREPARES';
});

feature('transaction', static function () use ($db, $tag): void {
    $insert = $db->prepare("INSERT INTO {$tag}_work VALUES (?, 'committed')");
    $db->beginTransaction();
    $insert->execute([21]);
    $db->commit();
    $db->beginTransaction();
    $insert->execute([22]);
    $db->rollBack();
    $db->beginTransaction();
    $insert->execute([23]);
    equal('22012', state(static fn () => $db->query('SELECT 1 / 0')));
    equal('25P02', state(static fn () => $db->query('SELECT 1')));
    equal(true, $db->inTransaction());
    $db->rollBack();
}, $same);

feature('cursor', static function () use ($db): string {
    $db->beginTransaction();
    $db->exec('DECLARE pieces CURSOR FOR SELECT id FROM products ORDER BY id');
    for ($last = 100; $last <= 300; $last += 100) {
        $piece = $db->query('FETCH 100 FROM pieces')->fetchAll(PDO::FETCH_COLUMN);
        equal($last, end($piece));
    }
    $db->commit();
    // Not ATTR_CURSOR: the driver then declares WITH HOLD, which is an export and asks a person.
    return 'DECLARE, FETCH';
});

feature('introspect', static function () use ($db): string {
    $row = $db->query('SELECT id, name, price FROM products WHERE id = 1');
    equal(['int4', 'products'], [$row->getColumnMeta(0)['native_type'], $row->getColumnMeta(0)['table'] ?? null]);
    equal('numeric', $row->getColumnMeta(2)['native_type']);
    equal(true, is_string($db->getAttribute(PDO::ATTR_SERVER_VERSION)));
    return 'getColumnMeta';
});

feature('copy-in', static function () use ($db, $tag): string {
    $db->pgsqlCopyFromArray("{$tag}_copy", ["1\tplain\n", "2\tünï\n"], "\t", '\\\\N');
    $file = tempnam(sys_get_temp_dir(), 'cs-pdo-');
    file_put_contents($file, "3\t\\N\n");
    $db->pgsqlCopyFromFile("{$tag}_copy", $file, "\t", '\\\\N');
    unlink($file);
    equal('22P02', state(static fn () => $db->pgsqlCopyFromArray("{$tag}_copy", ["four\tlost\n"])));
    return 'pgsqlCopyFromArray, pgsqlCopyFromFile';
});

feature('copy-out', static function () use ($db, $tag): void {
    equal(["1\tplain\n", "2\tünï\n", "3\t\\N\n"], $db->pgsqlCopyToArray("{$tag}_copy", "\t", '\\\\N'));
});

feature('approved', static function () use ($db, $tag): void {
    $db->exec("CREATE TABLE {$tag}_approved (id integer)");
}, $same);

foreach (['denied' => '42501', 'timed_out' => '57014'] as $name => $expected) {
    $sql = "CREATE TABLE {$tag}_{$name} (id integer)";
    feature(strtr($name, '_', '-'), static function () use ($db, $tag, $sql, $expected): string {
        equal($expected, state(static fn () => $db->exec($sql)));
        $db->beginTransaction();
        $db->exec("INSERT INTO {$tag}_work VALUES (99, 'lost')");
        equal($expected, state(static fn () => $db->prepare($sql)->execute()));
        equal('25P02', state(static fn () => $db->query('SELECT 1')));
        $db->rollBack();
        equal(0, value($db, "SELECT count(*) FROM {$tag}_work WHERE id = 99"));
        return 'alone, and prepared in a transaction';
    }, $same);
}
