use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:async);
use JSON::PP ();

# DBD::Pg: prepares on the server at the second execution, and by itself only what has placeholders.
binmode STDOUT, ':raw';
$| = 1;
my $tag = $ENV{CLIENT_TAG};
my $json = JSON::PP->new->utf8->canonical;
my $dsn = "dbi:Pg:host=$ENV{CLIENT_HOST};port=$ENV{CLIENT_PORT};dbname=$ENV{CLIENT_DATABASE};sslmode=disable";
my $db = DBI->connect($dsn, $ENV{CLIENT_USER}, $ENV{CLIENT_PASSWORD},
    { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1 });
my $pid = value('SELECT pg_backend_pid()');

feature('read', sub {
    my $row = $db->selectrow_arrayref('SELECT name, price FROM products WHERE id = ?', undef, 17);
    equal('Product 17 17.50', "@$row");
    my $names = $db->selectcol_arrayref('SELECT name FROM products WHERE id <= 10 ORDER BY id');
    equal('Product 10', $names->[9]);
});

feature('write', sub {
    my $insert = $db->prepare("INSERT INTO ${tag}_work VALUES (?, ?) RETURNING id");
    for my $id (1, 2) {
        $insert->execute($id, 'new');
        equal($id, $insert->fetchrow_array);
    }
    equal(1, $db->do("UPDATE ${tag}_work SET label = ? WHERE id = ?", undef, 'written', 1));
    equal(1, $db->do("DELETE FROM ${tag}_work WHERE id = 2"));
});

feature('prepared', sub {
    my $insert = $db->prepare("INSERT INTO ${tag}_work VALUES (?, 'prepared')", { pg_prepare_now => 1 });
    equal(3, $insert->execute_array({}, [11, 12, 13]));
    for my $server (0, 1) {
        my $read = $db->prepare('SELECT name FROM products WHERE id = $1 AND name <> $2',
            { pg_server_prepare => $server, pg_switch_prepared => 1 });
        for my $id (1 .. 4) {
            $read->execute($id, "it's \\");
            equal("Product $id", $read->fetchrow_array);
        }
    }
    return 'also without pg_server_prepare';
});

feature('transaction', sub {
    my $insert = $db->prepare("INSERT INTO ${tag}_work VALUES (?, 'committed')");
    $db->begin_work;
    $insert->execute(21);
    $db->commit;
    $db->begin_work;
    $insert->execute(22);
    $db->rollback;
    $db->begin_work;
    $insert->execute(23);
    equal('22012', state(sub { $db->do('SELECT 1 / 0') }));
    equal('25P02', state(sub { $db->do('SELECT 1') }));
    $db->rollback;
    $db->begin_work;
    $db->pg_savepoint('here');
    equal('22012', state(sub { $db->do('SELECT 1 / 0') }));
    $db->pg_rollback_to('here');
    equal(1, value('SELECT 1'));
    $db->commit;
    return 'also with a savepoint';
}, \&same);

feature('cursor', sub {
    $db->begin_work;
    $db->do('DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id');
    for my $last (100, 200, 300) {
        equal($last, $db->selectcol_arrayref('FETCH 100 FROM pages')->[99]);
    }
    $db->do('CLOSE pages');
    $db->commit;
    return 'DECLARE, FETCH';
});

feature('introspect', sub {
    equal(1, scalar @{ $db->table_info(undef, 'public', 'products', 'TABLE')->fetchall_arrayref });
    equal(3, scalar @{ $db->column_info(undef, 'public', 'products', '%')->fetchall_arrayref });
    equal('id', join ' ', $db->primary_key(undef, 'public', 'products'));
    $db->statistics_info(undef, 'public', 'products', 0, 0)->fetchall_arrayref;
    my $foreign = $db->foreign_key_info(undef, 'public', 'products', undef, undef, undef);
    $foreign->fetchall_arrayref if $foreign;
    $db->type_info_all;
    equal(1, scalar grep { /products/ } $db->tables(undef, 'public', '%', 'TABLE'));
    equal(1, $db->ping);
    my $read = $db->prepare('SELECT id, name, price FROM products WHERE id = 1');
    $read->execute;
    equal('int4 text numeric', "@{ $read->{pg_type} }");
    return 'table_info, column_info, primary_key, statistics_info, foreign_key_info';
});

feature('copy-in', sub {
    $db->do("COPY ${tag}_copy FROM STDIN");
    $db->pg_putcopydata($_) for "1\tplain\n", "2\tünï\n", "3\t\\N\n";
    $db->pg_putcopyend;
    $db->do("COPY ${tag}_copy FROM STDIN");
    $db->pg_putcopydata("four\tlost\n");
    equal('22P02', state(sub { $db->pg_putcopyend }));
    equal(3, value("SELECT count(*) FROM ${tag}_copy"));
    return 'pg_putcopydata';
});

feature('copy-out', sub {
    $db->do("COPY ${tag}_copy TO STDOUT");
    my ($line, $all) = ('', '');
    $all .= $line while $db->pg_getcopydata($line) >= 0;
    equal("1\tplain\n2\tünï\n3\t\\N\n", $all);
    return 'pg_getcopydata';
});

feature('cancel', sub {
    $db->do('SELECT pg_sleep(10)', { pg_async => PG_ASYNC });
    sleep 2;
    # True when the cancel came in time; its error is taken by the driver.
    equal(1, $db->pg_cancel);
    return 'pg_async, pg_cancel';
}, \&same);

feature('approved', sub {
    $db->do("CREATE TABLE ${tag}_approved (id integer)");
}, \&same);

feature('denied', sub { refused("CREATE TABLE ${tag}_denied (id integer)", '42501') }, \&same);
feature('timed-out', sub { refused("CREATE TABLE ${tag}_timed_out (id integer)", '57014') }, \&same);
$db->disconnect;

sub refused {
    my ($sql, $expected) = @_;
    equal($expected, state(sub { $db->do($sql) }));
    $db->begin_work;
    $db->do("INSERT INTO ${tag}_work VALUES (99, 'lost')");
    equal($expected, state(sub { $db->prepare($sql)->execute }));
    equal('25P02', state(sub { $db->do('SELECT 1') }));
    $db->rollback;
    equal(0, value("SELECT count(*) FROM ${tag}_work WHERE id = 99"));
    return 'alone, and in a transaction';
}

# Runs the steps and prints the line that the frame reads; a step may return how it was done.
sub feature {
    my ($name, @steps) = @_;
    my $detail = '';
    my $ok = eval { $detail = $_->() || $detail for @steps; 1 };
    my $error = $@;
    $db->rollback unless $db->{AutoCommit};
    my $said = $ok ? ($detail =~ /[a-z]/i ? $detail : '') : $error;
    print $json->encode({ feature => $name, ok => $ok ? JSON::PP::true : JSON::PP::false, detail => $said }), "\n";
}

sub same { equal($pid, value('SELECT pg_backend_pid()')); return '' }

sub value { return $db->selectrow_array($_[0]) }

# The SQLSTATE that it fails with.
sub state {
    my ($work) = @_;
    return eval { $work->(); 1 } ? '' : $DBI::state;
}

sub equal {
    my ($expected, $actual) = @_;
    die "expected $expected, got " . ($actual // 'nothing') unless defined $actual && $expected eq $actual;
}
