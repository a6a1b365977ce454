/** Hypernode for ElizaOS agents. */
import type { Plugin } from '@elizaos/core';
import { actions } from './actions.js';
import { openJobs } from './provider.js';
import { HypernodeService } from './service.js';
import { webhook } from './webhook.js';

export const hypernodePlugin: Plugin = {
  name: 'hypernode',
  description: 'GPU jobs on the Hypernode network: submit them, wait for them, follow what happens to them.',
  actions,
  providers: [openJobs],
  services: [HypernodeService],
  routes: [webhook],
};

export default hypernodePlugin;
export { HypernodeClient, type ClientOptions, type FeedEvent, type FeedPage, type Job, type JobPage } from './client.js';
export { ANY_EVENT, EVENTS_MISSED, type HypernodeEvent } from './events.js';
export { type Problem, ProblemError } from './problems.js';
export { HypernodeService } from './service.js';
export { genuine, TOLERANCE_S } from './signature.js';
