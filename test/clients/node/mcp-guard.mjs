/** What becomes of a statement that leaves the MCP server's read-only guard: prints `done`, or the error. */
import { startMcpServer } from './mcp-server.mjs';
import { TAG, URL } from './report.mjs';

const server = await startMcpServer(URL);
const answer = await server.query(`COMMIT; CREATE TABLE ${TAG}_denied (id integer)`).then(
  () => 'done',
  ({ message }) => message,
);
process.stdout.write(`${answer}\n`);
server.stop();
