/** What the packages export; their own declarations cannot be resolved. */
declare module '@elizaos/plugin-bootstrap' {
  import type { Plugin } from '@elizaos/core';
  const plugin: Plugin;
  export default plugin;
}

declare module '@elizaos/plugin-sql' {
  import type { IDatabaseAdapter, Plugin } from '@elizaos/core';
  const plugin: Plugin;
  export default plugin;
  export function createDatabaseAdapter(config: { dataDir: string }, agentId: string): IDatabaseAdapter;
}
