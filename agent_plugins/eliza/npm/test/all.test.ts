/** All tests in one process: its agents share a database, which takes longer to start than the tests take. */
import './actions.test.js';
import './client.test.js';
import './events.test.js';
