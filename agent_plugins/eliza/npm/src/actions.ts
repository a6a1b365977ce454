/** The six actions. Their handlers never throw: whatever happens is an ActionResult. */
import { createHash, randomUUID } from 'node:crypto';
import type { Action, ActionResult, HandlerCallback } from '@elizaos/core';
import { type Arguments, argumentsOf, type Call, explicitJobArguments, jobArguments } from './arguments.js';
import { HypernodeClient } from './client.js';
import { EXAMPLES } from './examples.js';
import { type Problem, problemOf } from './problems.js';
import type { ActionSchema } from './schema.js';
import { configured, settingsOf } from './settings.js';
import { failed, TEXTS, valuesOf } from './texts.js';
import { ACTIONS } from './tools.js';

export type ActionName = keyof typeof ACTIONS;

const ABOUT_A_JOB = new Set<ActionName>(['JOB_STATUS', 'WAIT_FOR_JOB']);
/** What an answer may take beyond the wait that was asked for. */
const SPARE_MS = 10_000;

const SIMILES: Readonly<Record<ActionName, readonly string[]>> = {
  SUBMIT_JOB: ['RUN_JOB', 'RUN_ON_GPU', 'START_JOB', 'RUN_INFERENCE', 'CREATE_JOB'],
  CHECK_AVAILABILITY: ['FIND_NODES', 'CHECK_GPUS', 'GPU_AVAILABILITY', 'LIST_GPUS'],
  QUOTE: ['GET_QUOTE', 'ESTIMATE_COST', 'JOB_PRICE', 'GPU_PRICE'],
  JOB_STATUS: ['GET_JOB', 'CHECK_JOB', 'JOB_STATE', 'JOB_RESULT'],
  WAIT_FOR_JOB: ['WAIT_JOB', 'WATCH_JOB', 'AWAIT_JOB', 'WAIT_FOR_RESULT'],
  CANCEL_JOB: ['STOP_JOB', 'ABORT_JOB', 'KILL_JOB'],
};

/** All of them, for the plugin. */
export const actions: Action[] = (Object.keys(ACTIONS) as ActionName[]).map(action);

function action(name: ActionName): Action {
  const schema: ActionSchema = ACTIONS[name];
  return {
    name,
    similes: [...SIMILES[name]],
    description: name === 'CANCEL_JOB' ? `${schema.summary} The message must name the id.` : schema.summary,
    examples: EXAMPLES[name] ?? [],
    parameters: parametersOf(schema),
    validate: async (runtime) => configured(runtime),
    handler: async (runtime, message, state, options, callback) =>
      handle({ name, action: schema, runtime, message, state, options }, callback),
  };
}

/** As multi-step prompts list them. */
function parametersOf(schema: ActionSchema): Record<string, unknown> {
  const required = schema.input.required ?? [];
  const shown = Object.entries(schema.input.properties ?? {}).map(([name, { type, description, enum: choices }]) => [
    name,
    {
      type: type ?? 'string',
      description: [description, choices && `one of ${choices.map((one) => JSON.stringify(one)).join(', ')}`]
        .filter(Boolean)
        .join('; '),
      required: required.includes(name),
    },
  ]);
  return Object.fromEntries(shown);
}

async function handle(call: Call, callback: HandlerCallback | undefined): Promise<ActionResult> {
  let result: ActionResult;
  try {
    result = succeeded(call, await answerTo(call));
  } catch (thrown) {
    result = refused(call, problemOf(thrown));
  }
  await told(call, result, callback);
  return result;
}

async function answerTo(call: Call): Promise<Record<string, unknown>> {
  const { apiKey, url } = settingsOf(call.runtime);
  const client = new HypernodeClient({ apiKey, url, ...(call.runtime.fetch ? { fetch: call.runtime.fetch } : {}) });
  const input = await inputOf(call);
  const waits = call.name === 'WAIT_FOR_JOB' ? Number(input.wait_s ?? 30) * 1_000 : 0;
  return client.call(call.action.tool, input, { timeoutMs: waits + SPARE_MS, requires: call.action.answers });
}

async function inputOf(call: Call): Promise<Arguments> {
  if (call.name === 'CANCEL_JOB') return explicitJobArguments(call);
  if (ABOUT_A_JOB.has(call.name as ActionName)) return jobArguments(call);
  const input = await argumentsOf(call);
  return call.name === 'SUBMIT_JOB' ? { idempotency_key: keyFor(call, input), ...input } : input;
}

/** The same message and arguments make one job, however often the action runs: runs are repeated after failures. */
function keyFor(call: Call, input: Arguments): string {
  const digest = createHash('sha256').update(JSON.stringify(Object.entries(input).sort())).digest('hex');
  return `eliza:${call.message.id ?? randomUUID()}:${digest.slice(0, 32)}`;
}

function succeeded(call: Call, answer: Record<string, unknown>): ActionResult {
  return {
    success: true,
    text: TEXTS[call.name]?.(answer) ?? '',
    values: valuesOf(answer),
    data: { actionName: call.name, tool: call.action.tool, answer },
  };
}

function refused(call: Call, found: Problem): ActionResult {
  return {
    success: false,
    text: failed(call.name, found),
    values: { problemCode: found.code, retryable: found.retryable },
    data: { actionName: call.name, tool: call.action.tool, problem: found },
    error: `${found.code}: ${found.detail}`,
  };
}

async function told(call: Call, result: ActionResult, callback: HandlerCallback | undefined): Promise<void> {
  try {
    await callback?.({ text: result.text ?? '', actions: [call.name], source: 'hypernode' });
  } catch (thrown) {
    call.runtime.logger.warn({ src: 'plugin:hypernode', error: String(thrown) }, 'A callback failed');
  }
}
