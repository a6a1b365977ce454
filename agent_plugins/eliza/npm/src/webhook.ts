/** The route that takes the engine's webhooks: it verifies the signature, and emits the event in the runtime. */
import type { IAgentRuntime, Route, RouteRequest, RouteResponse } from '@elizaos/core';
import type { FeedEvent } from './client.js';
import { emit } from './events.js';
import { isObject, messageOf } from './problems.js';
import { webhookSecrets } from './settings.js';
import { genuine, type SignedHeaders } from './signature.js';

/** Under the plugin's name, so `POST /hypernode/webhook`. */
export const webhook: Route = {
  name: 'hypernode-webhook',
  type: 'POST',
  path: '/webhook',
  // ElizaOS does not wait for handlers: one that rejects would end the process.
  handler: async (request, response, runtime) => {
    try {
      answer(request, response, runtime);
    } catch (thrown) {
      runtime.logger.error({ src: 'plugin:hypernode', error: messageOf(thrown) }, 'A webhook could not be taken');
      refuse(response, 500, 'internal_error', 'the message could not be taken');
    }
  },
};

function answer(request: RouteRequest, response: RouteResponse, runtime: IAgentRuntime): void {
  const secrets = webhookSecrets(runtime);
  if (secrets.length === 0) return refuse(response, 503, 'not_configured', 'HYPERNODE_WEBHOOK_SECRET is not set');
  const bodies = bodiesOf(request);
  if (!genuine(secrets, headersOf(request), bodies, Date.now() / 1_000)) {
    return refuse(response, 401, 'bad_signature', 'the signature is not that of HYPERNODE_WEBHOOK_SECRET, or is too old');
  }
  const event = eventOf(bodies[0]);
  if (event === null) return refuse(response, 400, 'no_event', 'the body is no event');
  response.status(200).json({ received: true });
  // Answered first: handlers may take longer than the engine waits.
  void emit(runtime, event);
}

/** `data` has the names of the feed: an amount is a decimal string. */
function eventOf(body: string | Uint8Array | undefined): FeedEvent | null {
  const found = parsed(body);
  if (!isObject(found) || typeof found.event !== 'string' || typeof found.id !== 'string' || found.id === '') return null;
  const { event, id, at, job_id, node_id, cost, ...data } = found;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  if (typeof cost === 'string') data.cost_hyper = cost;
  return { position: 0, id, kind: event as string, at: text(at), job_id: text(job_id), node_id: text(node_id), data };
}

/**
 * What may have been signed: the bytes as they came, where the host hands them over. ElizaOS's server hands over what
 * it has parsed, so else the two ways in which the engine's compact JSON can be written again, which differ in how they
 * write numbers below 0.0001. Whatever the host did to the body, only what was signed comes through.
 */
function bodiesOf(request: RouteRequest): (string | Uint8Array)[] {
  const raw = (request as { rawBody?: unknown }).rawBody ?? request.body;
  if (typeof raw === 'string' || raw instanceof Uint8Array) return [raw];
  return [JSON.stringify(raw) ?? '', rewritten(raw)];
}

/** Compact JSON with small numbers written as 5e-05, where JavaScript writes 0.00005. */
function rewritten(value: unknown): string {
  if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-4) {
    return value.toExponential().replace(/e-([0-9])$/, 'e-0$1');
  }
  if (Array.isArray(value)) return `[${value.map(rewritten).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}:${rewritten(inner)}`);
  return `{${members.join(',')}}`;
}

function headersOf(request: RouteRequest): SignedHeaders {
  const given = new Map(Object.entries(request.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
  const one = (name: string): string => {
    const value = given.get(name);
    return typeof value === 'string' ? value : '';
  };
  return { id: one('webhook-id'), timestamp: one('webhook-timestamp'), signature: one('webhook-signature') };
}

function parsed(body: string | Uint8Array | undefined): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}

function refuse(response: RouteResponse, status: number, code: string, detail: string): void {
  if (response.headersSent) return;
  response.status(status).json({ code, detail, status });
}
