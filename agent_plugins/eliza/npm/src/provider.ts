/** The agent's jobs that are not over, as context for its model. */
import type { IAgentRuntime, Provider, ProviderResult } from '@elizaos/core';
import { HypernodeClient, type Job } from './client.js';
import { messageOf } from './problems.js';
import { configured, settingsOf } from './settings.js';
import { OPEN_STATES } from './tools.js';

/** An agent composes its state several times a message. */
const FRESH_MS = 5_000;
/** Multi-step runs give up when their providers take a second. */
const TIMEOUT_MS = 800;
const MOST_JOBS = 20;
const MOST_PAGES = 3;

interface Kept {
  until: number;
  result: Promise<ProviderResult>;
}

const EMPTY: ProviderResult = { text: '', values: { hypernodeOpenJobs: 0 }, data: { jobs: [] } };
const KEPT = new WeakMap<IAgentRuntime, Kept>();

export const openJobs: Provider = {
  name: 'HYPERNODE_JOBS',
  description: "The agent's GPU jobs on the Hypernode network that are not over yet",
  get: async (runtime) => {
    if (!configured(runtime)) return EMPTY;
    const kept = KEPT.get(runtime);
    if (kept && kept.until > Date.now()) return kept.result;
    const result = read(runtime);
    KEPT.set(runtime, { until: Date.now() + FRESH_MS, result });
    return result;
  },
};

/** Read anew at the next question: something has happened to a job. */
export function forgetOpenJobs(runtime: IAgentRuntime): void {
  KEPT.delete(runtime);
}

async function read(runtime: IAgentRuntime): Promise<ProviderResult> {
  try {
    const { apiKey, url } = settingsOf(runtime);
    const jobs = await open(new HypernodeClient({ apiKey, url, ...(runtime.fetch ? { fetch: runtime.fetch } : {}) }));
    if (jobs.length === 0) return EMPTY;
    const lines = jobs.map((job) => `- ${job.job_id}: ${job.type}, ${job.state}${job.node_id ? ` on ${job.node_id}` : ''}`);
    const text = ['# Open jobs on the Hypernode network', ...lines].join('\n');
    return { text, values: { hypernodeOpenJobs: jobs.length }, data: { jobs } };
  } catch (thrown) {
    runtime.logger.debug({ src: 'plugin:hypernode', error: messageOf(thrown) }, 'The open jobs cannot be read');
    return EMPTY;
  }
}

/** Newest first. Pages that filter for what is rare may be short, even empty. */
async function open(client: HypernodeClient): Promise<Job[]> {
  const jobs: Job[] = [];
  const until = Date.now() + TIMEOUT_MS;
  let cursor = '';
  for (let pages = 0; pages < MOST_PAGES && jobs.length < MOST_JOBS; pages += 1) {
    const page = await client.jobs(OPEN_STATES, MOST_JOBS, cursor, Math.max(1, until - Date.now()));
    jobs.push(...page.jobs);
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  return jobs.slice(0, MOST_JOBS);
}
