/** What happened to the agent's jobs, emitted in its runtime: each event once, whichever way it came. */
import type { IAgentRuntime } from '@elizaos/core';
import type { FeedEvent } from './client.js';
import { messageOf } from './problems.js';
import { forgetOpenJobs } from './provider.js';

/** Emitted for every event, besides the one of its kind (`HYPERNODE_JOB_COMPLETED`, …). */
export const ANY_EVENT = 'HYPERNODE_EVENT';
/** Emitted when events were dropped by the engine before they were read: read the jobs anew. */
export const EVENTS_MISSED = 'HYPERNODE_EVENTS_MISSED';

/** What handlers get, besides `runtime` and `source`. `payload.position`: 0 for what came by webhook. */
export interface HypernodeEvent {
  source: 'hypernode';
  type: string;
  text: string;
  payload: { position: number; id: string; at: string; jobId: string; nodeId: string; [more: string]: unknown };
}

const REMEMBERED = 4_096;
const SEEN = new WeakMap<IAgentRuntime, Set<string>>();

/** Emit it, unless it was before. Handlers that fail are logged; it returns when all are done. */
export async function emit(runtime: IAgentRuntime, event: FeedEvent): Promise<void> {
  if (!firstTime(runtime, event.id)) return;
  if (event.job_id) forgetOpenJobs(runtime);
  const shown = shownAs(event);
  await tell(runtime, shown.type, shown);
  await tell(runtime, ANY_EVENT, shown);
}

/** Emit to the handlers of one type; never throws. */
export async function tell(runtime: IAgentRuntime, type: string, shown: object): Promise<void> {
  try {
    await runtime.emitEvent(type, { ...shown, source: 'hypernode', runtime });
  } catch (thrown) {
    runtime.logger.error({ src: 'plugin:hypernode', type, error: messageOf(thrown) }, 'A handler of an event failed');
  }
}

/** The event in a runtime's form. */
export function shownAs(event: FeedEvent): HypernodeEvent {
  const words = event.kind.replaceAll('_', ' ');
  return {
    source: 'hypernode',
    type: `HYPERNODE_${event.kind.toUpperCase()}`,
    text: `${words.charAt(0).toUpperCase()}${words.slice(1)}${event.job_id ? ` of ${event.job_id}` : ''}.`,
    payload: {
      ...event.data,
      position: event.position,
      id: event.id,
      at: event.at,
      jobId: event.job_id,
      nodeId: event.node_id,
    },
  };
}

function firstTime(runtime: IAgentRuntime, id: string): boolean {
  const seen = SEEN.get(runtime) ?? new Set<string>();
  SEEN.set(runtime, seen);
  if (seen.has(id)) return false;
  seen.add(id);
  const oldest = seen.values().next().value;
  if (seen.size > REMEMBERED && oldest !== undefined) seen.delete(oldest);
  return true;
}
