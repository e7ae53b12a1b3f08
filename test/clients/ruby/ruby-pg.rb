# frozen_string_literal: true

require 'json'
require 'pg'

# ruby-pg, which wraps libpq: simple and extended protocol, pipeline mode, single rows, COPY.
$stdout.sync = true
TAG = ENV.fetch('CLIENT_TAG')
DB = PG.connect(
  host: ENV.fetch('CLIENT_HOST'), port: ENV.fetch('CLIENT_PORT'), user: ENV.fetch('CLIENT_USER'),
  password: ENV.fetch('CLIENT_PASSWORD'), dbname: ENV.fetch('CLIENT_DATABASE'), sslmode: 'disable'
)
NOTICES = []
DB.set_notice_processor { |message| NOTICES << message }

def equal(expected, actual)
  raise "expected #{expected.inspect}, got #{actual.inspect}" unless expected == actual
end

# The SQLSTATE that the block fails with.
def state
  yield
  ''
rescue PG::Error => e
  e.result&.error_field(PG::PG_DIAG_SQLSTATE) || e.message
end

def value(sql, *parameters)
  DB.exec_params(sql, parameters).getvalue(0, 0)
end

PID = value('SELECT pg_backend_pid()')

# Runs the block and prints the line that the frame reads; the block may return how it was done.
def feature(name, same: false)
  said = yield
  equal(PID, value('SELECT pg_backend_pid()')) if same
  report = { feature: name, ok: true, detail: said.is_a?(String) ? said : '' }
rescue StandardError => e
  report = { feature: name, ok: false, detail: "#{e.class}: #{e.message} #{e.backtrace.first}" }
ensure
  puts JSON.generate(report)
end

def refused(sql, expected)
  equal(expected, state { DB.exec(sql) })
  DB.exec('BEGIN')
  DB.exec("INSERT INTO #{TAG}_work VALUES (99, 'lost')")
  equal(expected, state { DB.exec_params(sql, []) })
  equal('25P02', state { DB.exec('SELECT 1') })
  DB.exec('ROLLBACK')
  equal(expected, pipelined(sql))
  equal('0', value("SELECT count(*) FROM #{TAG}_work WHERE id = 99"))
  'alone, in a transaction and in a pipeline'
end

# Three statements before one Sync, then one more: the SQLSTATE of the second.
def pipelined(sql)
  DB.enter_pipeline_mode
  DB.send_query_params("INSERT INTO #{TAG}_work VALUES ($1, 'lost')", [99])
  DB.send_query_params(sql, [])
  DB.send_query_params("INSERT INTO #{TAG}_work VALUES ($1, 'lost')", [99])
  DB.pipeline_sync
  DB.send_query_params('SELECT $1::int + 1', [41])
  DB.pipeline_sync
  results = Array.new(6) { next_result }
  equal(
    %i[PGRES_COMMAND_OK PGRES_FATAL_ERROR PGRES_PIPELINE_ABORTED PGRES_PIPELINE_SYNC PGRES_TUPLES_OK PGRES_PIPELINE_SYNC],
    results.map { |result| STATUS.fetch(result.result_status) }
  )
  equal('42', results[4].getvalue(0, 0))
  results[1].error_field(PG::PG_DIAG_SQLSTATE)
ensure
  DB.exit_pipeline_mode
end

STATUS = %i[
  PGRES_COMMAND_OK PGRES_FATAL_ERROR PGRES_PIPELINE_ABORTED PGRES_PIPELINE_SYNC PGRES_TUPLES_OK
].to_h { |name| [PG.const_get(name), name] }

# In a pipeline each result but a sync is followed by nil.
def next_result
  result = DB.get_result until result
  DB.get_result unless result.result_status == PG::PGRES_PIPELINE_SYNC
  result
end

feature('read') do
  row = DB.exec_params('SELECT name, price FROM products WHERE id = $1', [17]).first
  equal({ 'name' => 'Product 17', 'price' => '17.50' }, row)
  equal('Product 10', DB.exec('SELECT name FROM products WHERE id <= 10 ORDER BY id').getvalue(9, 0))
end

feature('write') do
  insert = "INSERT INTO #{TAG}_work VALUES ($1, $2) RETURNING id"
  [1, 2].each { |id| equal(id.to_s, value(insert, id, 'new')) }
  equal(1, DB.exec_params("UPDATE #{TAG}_work SET label = $1 WHERE id = $2", ['written', 1]).cmd_tuples)
  equal(1, DB.exec("DELETE FROM #{TAG}_work WHERE id = 2").cmd_tuples)
  equal('22012', pipelined('SELECT 1 / 0'))
  'also in a pipeline, with an error in the middle'
end

feature('prepared') do
  DB.prepare('fill', "INSERT INTO #{TAG}_work VALUES ($1, 'prepared')")
  [11, 12, 13].each { |id| equal(1, DB.exec_prepared('fill', [id]).cmd_tuples) }
  equal(1, DB.describe_prepared('fill').nparams)
  DB.exec('DEALLOCATE fill')
  DB.prepare('binary', 'SELECT id FROM products WHERE id = $1')
  found = DB.exec_prepared('binary', [{ value: [17].pack('N'), format: 1 }], 1)
  equal([17], found.getvalue(0, 0).unpack('N'))
  'also with a binary parameter and result'
end

feature('transaction', same: true) do
  DB.transaction { |db| db.exec("INSERT INTO #{TAG}_work VALUES (21, 'committed')") }
  DB.exec('BEGIN')
  DB.exec("INSERT INTO #{TAG}_work VALUES (22, 'lost')")
  equal(PG::PQTRANS_INTRANS, DB.transaction_status)
  DB.exec('ROLLBACK')
  DB.exec('BEGIN')
  DB.exec("INSERT INTO #{TAG}_work VALUES (23, 'lost')")
  equal('22012', state { DB.exec('SELECT 1 / 0') })
  equal(PG::PQTRANS_INERROR, DB.transaction_status)
  equal('25P02', state { DB.exec('SELECT 1') })
  DB.exec('ROLLBACK')
  equal(PG::PQTRANS_IDLE, DB.transaction_status)
end

feature('cursor') do
  DB.transaction do |db|
    db.exec('DECLARE pages CURSOR FOR SELECT id FROM products ORDER BY id')
    [100, 200, 300].each { |last| equal(last.to_s, db.exec('FETCH 100 FROM pages').getvalue(99, 0)) }
    db.exec('CLOSE pages')
  end
  DB.send_query('SELECT id FROM products ORDER BY id')
  DB.set_single_row_mode
  rows = 0
  DB.get_result.stream_each { |row| equal((rows += 1).to_s, row['id']) }
  DB.get_last_result
  equal(300, rows)
  'DECLARE, FETCH, and single-row mode'
end

feature('introspect') do
  DB.type_map_for_results = PG::BasicTypeMapForResults.new(DB)
  DB.type_map_for_queries = PG::BasicTypeMapForQueries.new(DB)
  row = DB.exec_params('SELECT id, name, price, ARRAY[1, 2] AS list FROM products WHERE id = $1', [1]).first
  equal([1, 'Product 1', 1.5, [1, 2]], row.values)
  DB.exec("LISTEN #{TAG}; NOTIFY #{TAG}, 'heard'")
  equal(TAG, DB.wait_for_notify(10) { |_, _, payload| equal('heard', payload) })
  'BasicTypeMapForResults and BasicTypeMapForQueries read pg_type; also LISTEN'
ensure
  DB.type_map_for_results = PG::TypeMapAllStrings.new
  DB.type_map_for_queries = PG::TypeMapAllStrings.new
end

feature('copy-in') do
  DB.copy_data("COPY #{TAG}_copy FROM STDIN") do
    ["1\tplain\n", "2\tünï\n", "3\t\\N\n"].each { |line| DB.put_copy_data(line) }
  end
  equal('22P02', state { DB.copy_data("COPY #{TAG}_copy FROM STDIN") { DB.put_copy_data("four\tlost\n") } })
  begin
    DB.copy_data("COPY #{TAG}_copy FROM STDIN") { raise ArgumentError, 'given up' }
  rescue ArgumentError => e
    equal('given up', e.message)
  end
  equal('3', value("SELECT count(*) FROM #{TAG}_copy"))
  'copy_data, also given up half-way'
end

feature('copy-out') do
  lines = []
  DB.copy_data("COPY #{TAG}_copy TO STDOUT") do
    while (line = DB.get_copy_data)
      lines << line
    end
  end
  equal("1\tplain\n2\tünï\n3\t\\N\n", lines.join.force_encoding('UTF-8'))
end

feature('cancel', same: true) do
  canceller = Thread.new do
    # Again and again: on a busy machine the first may come before the statement.
    until Thread.current[:done]
      sleep 0.7
      DB.cancel unless Thread.current[:done]
    end
  end
  found = state { DB.async_exec('SELECT pg_sleep(10)') }
  canceller[:done] = true
  canceller.join
  equal('57014', found)
  'cancel from another thread'
end

feature('approved', same: true) do
  DB.exec("CREATE TABLE #{TAG}_approved (id integer)")
  equal(true, NOTICES.any? { |notice| notice.include?('countersign: held') })
end

feature('denied', same: true) do
  # libpq calls lo_creat by FunctionCall, which has no SQL that could be judged: refused at once.
  begin
    DB.lo_creat
    raise 'lo_creat was not refused'
  rescue PG::Error => e
    equal('lo_creat failed', e.message)
    equal(true, DB.error_message.include?('countersign: the function call protocol is not allowed'))
  end
  refused("CREATE TABLE #{TAG}_denied (id integer)", '42501') + ", and a large object's FunctionCall"
end
feature('timed-out', same: true) { refused("CREATE TABLE #{TAG}_timed_out (id integer)", '57014') }
DB.close
