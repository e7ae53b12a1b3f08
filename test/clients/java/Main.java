import java.io.PrintStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.Callable;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObjectManager;

/** pgjdbc. One JSON line on standard output for each feature; see ../README.md. */
public final class Main {
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  static final String TAG = System.getenv("CLIENT_TAG");

  public static void main(String[] args) throws Exception {
    try (Connection db = connect()) {
      String pid = text(db, "SELECT pg_backend_pid()");
      Callable<String> same = () -> equal(pid, text(db, "SELECT pg_backend_pid()"));
      feature("read", db, () -> read(db));
      feature("write", db, () -> write(db), () -> batches(), () -> updatable(db));
      feature("prepared", db, () -> prepared(db), () -> everyMode());
      feature("transaction", db, () -> transaction(db), same);
      feature("cursor", db, () -> cursor(db));
      feature("introspect", db, () -> introspect(db));
      feature("copy-in", db, () -> copyIn(db));
      feature("copy-out", db, () -> copyOut(db));
      feature("cancel", db, () -> cancel(db), same);
      feature("approved", db, () -> approved(db), same);
      feature("denied", db, () -> refused(db, "CREATE TABLE " + TAG + "_denied (id integer)", "42501"), () -> largeObject(db), same);
      feature("timed-out", db, () -> refused(db, "CREATE TABLE " + TAG + "_timed_out (id integer)", "57014"), same);
    }
  }

  static String read(Connection db) throws SQLException {
    try (PreparedStatement read = db.prepareStatement("SELECT name, price FROM products WHERE id = ?")) {
      read.setInt(1, 17);
      ResultSet row = read.executeQuery();
      row.next();
      equal("Product 17", row.getString(1));
      equal(new BigDecimal("17.50"), row.getBigDecimal("price"));
    }
    try (Statement statement = db.createStatement()) {
      List<String> found = names(statement.executeQuery("SELECT name FROM products WHERE id <= 10 ORDER BY id"), "name");
      return equal("Product 10", found.get(9));
    }
  }

  static String write(Connection db) throws SQLException {
    String insert = "INSERT INTO " + TAG + "_work (id, label) VALUES (?, 'new')";
    try (PreparedStatement one = db.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
      for (int id = 1; id <= 2; id++) {
        one.setInt(1, id);
        equal(1, one.executeUpdate());
        ResultSet keys = one.getGeneratedKeys();
        keys.next();
        equal(id, keys.getInt("id"));
      }
    }
    try (Statement statement = db.createStatement()) {
      equal(1, statement.executeUpdate("UPDATE " + TAG + "_work SET label = 'written' WHERE id = 1"));
      return equal(1, statement.executeUpdate("DELETE FROM " + TAG + "_work WHERE id = 2"));
    }
  }

  /** Batches, as single statements and rewritten to VALUES lists, also with an error in the middle. */
  static String batches() throws SQLException {
    for (String rewrite : List.of("false", "true")) {
      try (Connection db = connect("reWriteBatchedInserts", rewrite)) {
        db.setAutoCommit(false);
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO " + TAG + "_work VALUES (?, ?)")) {
          for (int id = 1000; id < 1300; id++) {
            insert.setInt(1, id);
            insert.setString(2, "batch");
            insert.addBatch();
          }
          equal(300, insert.executeBatch().length);
        }
        equal("300", text(db, "SELECT count(*) FROM " + TAG + "_work WHERE label = 'batch'"));
        try (Statement mixed = db.createStatement()) {
          mixed.addBatch("UPDATE " + TAG + "_work SET label = 'lost' WHERE id = 1001");
          mixed.addBatch("SELECT 1 / 0");
          mixed.addBatch("UPDATE " + TAG + "_work SET label = 'lost' WHERE id = 1002");
          equal("22012", state(mixed::executeBatch));
        }
        equal("25P02", state(() -> text(db, "SELECT 1")));
        db.rollback();
      }
    }
    return "";
  }

  /** The driver finds the table's key, and writes the UPDATE, by itself. */
  static String updatable(Connection db) throws SQLException {
    try (Statement statement = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet row = statement.executeQuery("SELECT id, label FROM " + TAG + "_work WHERE id = 1")) {
      row.next();
      row.updateString("label", "new");
      row.updateRow();
      row.updateString("label", "written");
      row.updateRow();
    }
    return "also addBatch, reWriteBatchedInserts and an updatable ResultSet";
  }

  /** From the fifth execution on the statement is prepared on the server, and its results come in binary. */
  static String prepared(Connection db) throws SQLException {
    try (PreparedStatement insert = db.prepareStatement("INSERT INTO " + TAG + "_work VALUES (?, 'prepared')")) {
      insert.unwrap(PGStatement.class).setPrepareThreshold(1);
      for (int id = 11; id <= 13; id++) {
        insert.setInt(1, id);
        equal(1, insert.executeUpdate());
      }
    }
    try (PreparedStatement read = db.prepareStatement("SELECT id, name, price, now() FROM products WHERE id = ?")) {
      for (int id = 1; id <= 12; id++) {
        read.setInt(1, id);
        try (ResultSet rows = read.executeQuery()) {
          rows.next();
          equal(id, rows.getInt(1));
          equal("Product " + id, rows.getString(2));
          equal(id + ".50", rows.getBigDecimal(3).toString());
          equal(true, rows.getTimestamp(4) != null);
        }
      }
      return equal(true, read.unwrap(PGStatement.class).isUseServerPrepare());
    }
  }

  /** The same work in each way that the driver has of talking to the server. */
  static String everyMode() throws SQLException {
    List<String> wrong = new ArrayList<>();
    String[][] modes = {
      {"preferQueryMode", "simple"},
      {"preferQueryMode", "extendedForPrepared"},
      {"preferQueryMode", "extendedCacheEverything"},
      {"prepareThreshold", "1"},
      {"prepareThreshold", "-1"},
      {"prepareThreshold", "0"},
      {"binaryTransfer", "false"},
      {"autosave", "always"},
      {"autosave", "conservative"},
      {"adaptiveFetch", "true", "defaultRowFetchSize", "10"},
      {"options", "-c statement_timeout=60000"},
      {"currentSchema", "public", "ApplicationName", "reports"},
      {"readOnly", "true", "readOnlyMode", "always"},
    };
    for (String[] mode : modes) {
      try (Connection db = connect(mode)) {
        inMode(db);
        if (mode[0].equals("autosave")) autosave(db, mode[1].equals("always"));
      } catch (SQLException error) {
        wrong.add(String.join("=", mode) + ": " + error.getSQLState() + " " + error.getMessage());
      }
    }
    equal("[]", wrong.toString());
    return "also " + modes.length + " connection settings, from preferQueryMode=simple to autosave=always";
  }

  static void inMode(Connection db) throws SQLException {
    db.setAutoCommit(false);
    try (PreparedStatement read = db.prepareStatement("SELECT name, price FROM products WHERE id >= ? ORDER BY id LIMIT 25")) {
      for (int id = 201; id <= 208; id++) {
        read.setInt(1, id);
        try (ResultSet rows = read.executeQuery()) {
          rows.next();
          equal("Product " + id, rows.getString(1));
          equal(id + ".50", rows.getBigDecimal(2).toString());
          while (rows.next()) {}
        }
      }
    }
    db.commit();
    db.setAutoCommit(true);
  }

  /** The driver makes a savepoint before each statement, and goes back to it by itself. */
  static void autosave(Connection db, boolean always) throws SQLException {
    db.setAutoCommit(false);
    text(db, "SELECT 1");
    equal("22012", state(() -> text(db, "SELECT 1 / 0")));
    equal(always ? "" : "25P02", state(() -> text(db, "SELECT 1")));
    db.rollback();
    equal("42501", state(() -> db.createStatement().execute("CREATE TABLE " + TAG + "_denied (id integer)")));
    db.rollback();
    db.setAutoCommit(true);
  }

  static String transaction(Connection db) throws SQLException {
    db.setAutoCommit(false);
    try (Statement statement = db.createStatement()) {
      statement.executeUpdate("INSERT INTO " + TAG + "_work VALUES (21, 'committed')");
      db.commit();
      statement.executeUpdate("INSERT INTO " + TAG + "_work VALUES (22, 'lost')");
      db.rollback();
      statement.executeUpdate("INSERT INTO " + TAG + "_work VALUES (23, 'lost')");
      equal("22012", state(() -> statement.execute("SELECT 1 / 0")));
      equal("25P02", state(() -> statement.execute("SELECT 1")));
      db.rollback();
      Savepoint savepoint = db.setSavepoint();
      equal("22012", state(() -> statement.execute("SELECT 1 / 0")));
      db.rollback(savepoint);
      statement.execute("SELECT 1");
      db.commit();
      db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      db.setReadOnly(true);
      equal("25006", state(() -> statement.executeUpdate("INSERT INTO " + TAG + "_work VALUES (24, 'lost')")));
      db.rollback();
      db.setReadOnly(false);
      db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    } finally {
      db.rollback();
      db.setAutoCommit(true);
    }
    return "also with a savepoint, serializable and read only";
  }

  /** A fetch size within a transaction makes a named portal, which Execute leaves suspended. */
  static String cursor(Connection db) throws SQLException {
    db.setAutoCommit(false);
    int rows = 0;
    try (Statement statement = db.createStatement()) {
      statement.setFetchSize(100);
      try (ResultSet result = statement.executeQuery("SELECT id FROM products ORDER BY id")) {
        while (result.next()) equal(++rows, result.getInt(1));
      }
      try (ResultSet left = statement.executeQuery("SELECT id FROM products ORDER BY id")) {
        left.next();
      }
      db.commit();
    } finally {
      db.rollback();
      db.setAutoCommit(true);
    }
    equal(300, rows);
    return "setFetchSize: Execute with a row limit";
  }

  static String copyIn(Connection db) throws Exception {
    CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
    String sql = "COPY " + TAG + "_copy (id, label) FROM STDIN";
    equal(3L, copy.copyIn(sql, new StringReader("1\tplain\n2\tünï\n3\t\\N\n")));
    equal("22P02", state(() -> copy.copyIn(sql, new StringReader("four\tlost\n"))));
    CopyIn broken = copy.copyIn(sql);
    broken.writeToCopy("5\tlost\n".getBytes(), 0, 7);
    broken.cancelCopy();
    return equal("3", text(db, "SELECT count(*) FROM " + TAG + "_copy"));
  }

  static String copyOut(Connection db) throws Exception {
    StringWriter out = new StringWriter();
    equal(3L, db.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY " + TAG + "_copy TO STDOUT", out));
    return equal("1\tplain\n2\tünï\n3\t\\N\n", out.toString());
  }

  /** Cancelled from another thread, and by the driver's own timer. */
  static String cancel(Connection db) throws Exception {
    try (Statement statement = db.createStatement()) {
      Thread other = new Thread(() -> {
        try {
          // Again and again: on a busy machine the first may come before the statement.
          while (true) {
            Thread.sleep(700);
            statement.cancel();
          }
        } catch (InterruptedException | SQLException done) {
          // The statement has ended.
        }
      });
      other.start();
      try {
        equal("57014", state(() -> statement.execute("SELECT pg_sleep(10)")));
      } finally {
        other.interrupt();
        other.join();
      }
      equal("1", text(db, "SELECT 1"));
      statement.setQueryTimeout(1);
      equal("57014", state(() -> statement.execute("SELECT pg_sleep(10)")));
    }
    return "Statement.cancel and setQueryTimeout";
  }

  static String introspect(Connection db) throws SQLException {
    DatabaseMetaData meta = db.getMetaData();
    equal(true, names(meta.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME").contains("products"));
    equal(List.of("id", "name", "price"), names(meta.getColumns(null, "public", "products", "%"), "COLUMN_NAME"));
    equal(List.of("id"), names(meta.getPrimaryKeys(null, "public", "products"), "COLUMN_NAME"));
    equal(List.of("products_pkey"), names(meta.getIndexInfo(null, "public", "products", false, false), "INDEX_NAME"));
    names(meta.getImportedKeys(null, "public", "products"), "FKCOLUMN_NAME");
    names(meta.getExportedKeys(null, "public", "products"), "FKTABLE_NAME");
    names(meta.getCrossReference(null, null, "products", null, null, "products"), "FKTABLE_NAME");
    names(meta.getVersionColumns(null, "public", "products"), "COLUMN_NAME");
    names(meta.getBestRowIdentifier(null, "public", "products", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME");
    names(meta.getSchemas(), "TABLE_SCHEM");
    names(meta.getCatalogs(), "TABLE_CAT");
    names(meta.getTableTypes(), "TABLE_TYPE");
    names(meta.getTypeInfo(), "TYPE_NAME");
    names(meta.getProcedures(null, "public", "%"), "PROCEDURE_NAME");
    names(meta.getFunctions(null, "public", "%"), "FUNCTION_NAME");
    names(meta.getFunctionColumns(null, "pg_catalog", "lower", "%"), "FUNCTION_NAME");
    names(meta.getUDTs(null, "public", "%", null), "TYPE_NAME");
    names(meta.getTablePrivileges(null, "public", "products"), "PRIVILEGE");
    names(meta.getColumnPrivileges(null, "public", "products", "%"), "PRIVILEGE");
    equal(true, meta.getMaxColumnNameLength() == 63 && meta.getSQLKeywords().contains("ilike"));
    equal(true, db.isValid(10));
    try (Statement statement = db.createStatement();
        ResultSet rows = statement.executeQuery("SELECT id, name, price FROM products WHERE id = 1")) {
      ResultSetMetaData columns = rows.getMetaData();
      equal("products", ((PGResultSetMetaData) columns).getBaseTableName(1));
      equal(ResultSetMetaData.columnNoNulls, columns.isNullable(1));
      equal("numeric", columns.getColumnTypeName(3));
    }
    return "all of DatabaseMetaData";
  }

  static String approved(Connection db) throws SQLException {
    try (Statement statement = db.createStatement()) {
      statement.execute("CREATE TABLE " + TAG + "_approved (id integer)");
      SQLWarning warning = statement.getWarnings();
      return equal(true, warning != null && warning.getMessage().startsWith("countersign: held"));
    }
  }

  static String refused(Connection db, String sql, String expected) throws SQLException {
    db.setAutoCommit(false);
    try (Statement statement = db.createStatement()) {
      statement.executeUpdate("INSERT INTO " + TAG + "_work VALUES (99, 'lost')");
      equal(expected, state(() -> statement.execute(sql)));
      equal("25P02", state(() -> statement.execute("SELECT 1")));
    } finally {
      db.rollback();
      db.setAutoCommit(true);
    }
    try (PreparedStatement statement = db.prepareStatement(sql)) {
      equal(expected, state(statement::execute));
    }
    try (Statement statement = db.createStatement()) {
      // The driver's own timer cancels it while it is held: the request is withdrawn.
      statement.setQueryTimeout(1);
      if (expected.equals("57014")) equal(expected, state(() -> statement.execute(sql)));
    }
    equal("0", text(db, "SELECT count(*) FROM " + TAG + "_work WHERE id = 99"));
    return "alone and in a transaction";
  }

  /** The driver calls lo_creat by FunctionCall, which has no SQL that could be judged: refused at once. */
  static String largeObject(Connection db) throws SQLException {
    LargeObjectManager objects = db.unwrap(PGConnection.class).getLargeObjectAPI();
    db.setAutoCommit(false);
    equal("42501", state(() -> objects.createLO()));
    equal("25P02", state(() -> text(db, "SELECT 1")));
    db.rollback();
    db.setAutoCommit(true);
    return "alone, in a transaction, and a large object's FunctionCall";
  }

  static Connection connect(String... more) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("CLIENT_USER"));
    properties.setProperty("password", System.getenv("CLIENT_PASSWORD"));
    properties.setProperty("sslmode", "disable");
    for (int i = 0; i + 1 < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
    return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("CLIENT_HOST") + ":"
        + System.getenv("CLIENT_PORT") + "/" + System.getenv("CLIENT_DATABASE"), properties);
  }

  static String text(Connection db, String sql) throws SQLException {
    try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getString(1);
    }
  }

  static List<String> names(ResultSet rows, String column) throws SQLException {
    List<String> found = new ArrayList<>();
    while (rows.next()) found.add(rows.getString(column));
    rows.close();
    return found;
  }

  /** The SQLSTATE that it fails with, or nothing; of a batch, its first cause's. */
  static String state(Callable<?> work) throws SQLException {
    try {
      work.call();
      return "";
    } catch (SQLException error) {
      return error.getSQLState();
    } catch (Exception error) {
      throw new SQLException(error);
    }
  }

  static String equal(Object expected, Object actual) throws SQLException {
    if (!expected.equals(actual)) throw new SQLException("expected " + expected + ", got " + actual);
    return "";
  }

  /** Runs the steps; the last detail that says something is reported. */
  @SafeVarargs
  static void feature(String name, Connection db, Callable<String>... steps) throws SQLException {
    String detail = "";
    boolean ok = true;
    try {
      for (Callable<String> step : steps) {
        String said = step.call();
        if (!said.isEmpty()) detail = said;
      }
    } catch (Exception error) {
      ok = false;
      detail = (error instanceof SQLException sql ? sql.getSQLState() + " " : "") + error;
    }
    OUT.println("{\"feature\":" + quoted(name) + ",\"ok\":" + ok + ",\"detail\":" + quoted(detail) + "}");
  }

  static String quoted(String text) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') out.append('\\').append(c);
      else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }
}
