/**
 * Where an action's arguments come from: what the caller hands over, what a multi-step run has decided for this very
 * action, the ids that stand in the message, and at last what the agent's model reads out of the message.
 */
import type { HandlerOptions, IAgentRuntime, Memory, State } from '@elizaos/core';
import { extract } from './extraction.js';
import { invalid, isObject, ProblemError } from './problems.js';
import { type ActionSchema, check } from './schema.js';

export type Arguments = Record<string, unknown>;

/** What a handler is called with, and the action it is the handler of. */
export interface Call {
  name: string;
  action: ActionSchema;
  runtime: IAgentRuntime;
  message: Memory;
  state: State | undefined;
  options: HandlerOptions | undefined;
}

const JOB_ID = /\bjob_[0-9a-z]{26}\b/g;
const NOT_ARGUMENTS = new Set(['actionContext', 'actionPlan', 'onStreamChunk', 'params', 'parameters', 'signal', 'abortSignal']);

/** Valid arguments; throws a ProblemError that names the field and shows a valid example. */
export async function argumentsOf(call: Call): Promise<Arguments> {
  return valid(call, explicit(call) ?? decided(call) ?? (await extract(call)));
}

/** The same for an action about one job: a model never guesses its id. */
export function jobArguments(call: Call): Arguments {
  const given = explicit(call) ?? decided(call) ?? {};
  return valid(call, given.job_id === undefined ? { ...given, job_id: namedIn(call) ?? submittedBefore(call) } : given);
}

/**
 * The same for an action that ends a job: its id stands in the message or in the options. What earlier steps have left
 * in the state, a multi-step run's parameters among it, may be of another job.
 */
export function explicitJobArguments(call: Call): Arguments {
  const given = explicit(call) ?? {};
  return valid(call, given.job_id === undefined ? { ...given, job_id: namedIn(call) } : given);
}

function valid(call: Call, given: Arguments): Arguments {
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
  const wrong = check(call.action, present);
  if (wrong) throw new ProblemError(wrong);
  return present;
}

/** What the options or the message's content hand over; undefined when they hold no arguments at all. */
function explicit(call: Call): Arguments | undefined {
  const options = (call.options ?? {}) as Record<string, unknown>;
  const content = call.message.content as Record<string, unknown>;
  const loose = Object.fromEntries(Object.entries(options).filter(([name]) => !NOT_ARGUMENTS.has(name)));
  const places = [options.params, options.parameters, loose, content?.params, content?.actionParams, content?.actionInput];
  const found = places.find((place) => isObject(place) && Object.keys(place).length > 0);
  return found === undefined ? undefined : snakeCased(call.action, found as Arguments);
}

/**
 * The parameters that a multi-step run has decided for this step. ElizaOS keeps those of earlier steps in the state
 * when a step has none: only what it filed under this action's name, and was not used before, is of this step.
 */
function decided(call: Call): Arguments | undefined {
  const filed = call.state?.data?.[call.name.toLowerCase().replaceAll('_', '')];
  if (!isObject(filed) || USED.has(filed)) return undefined;
  USED.add(filed);
  const own = Object.entries(filed).filter(([name]) => !name.startsWith('_'));
  return own.length > 0 ? snakeCased(call.action, Object.fromEntries(own)) : undefined;
}

const USED = new WeakSet<object>();

function snakeCased(action: ActionSchema, given: Arguments): Arguments {
  const found: Arguments = {};
  for (const [name, value] of Object.entries(given)) {
    const known = name.replace(/(?<=[a-z0-9])[A-Z]/g, (hump) => `_${hump.toLowerCase()}`);
    if (known in found) throw new ProblemError(invalid(`${known} is given twice`, known, action.example));
    found[known] = value;
  }
  return found;
}

function namedIn(call: Call): string | undefined {
  const ids = new Set((call.message.content?.text ?? '').match(JOB_ID) ?? []);
  if (ids.size > 1) {
    throw new ProblemError(invalid('the message names several jobs; name one', 'job_id', call.action.example));
  }
  return [...ids][0];
}

/** The job that an earlier action of the same run has submitted. */
function submittedBefore(call: Call): string | undefined {
  const earlier = call.options?.actionContext?.previousResults ?? [];
  const ids = earlier.map((result) => (result.success ? result.values?.jobId : undefined));
  return ids.findLast((id): id is string => typeof id === 'string');
}
