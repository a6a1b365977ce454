/** What the plugin reads of an agent's settings. */
import type { IAgentRuntime } from '@elizaos/core';
import { problem, ProblemError } from './problems.js';

export const DEFAULT_URL = 'http://127.0.0.1:3002';

/** `url` ends without a slash. `webhookSecrets`: newest first, none where webhooks are not taken. */
export interface Settings {
  apiKey: string;
  url: string;
  webhookSecrets: string[];
  events: boolean;
}

/** Whether an API key is there: without one no action is offered. */
export function configured(runtime: IAgentRuntime): boolean {
  return text(runtime, 'HYPERNODE_API_KEY') !== '';
}

/** Throws a ProblemError that names the setting which is missing or wrong. */
export function settingsOf(runtime: IAgentRuntime): Settings {
  const apiKey = text(runtime, 'HYPERNODE_API_KEY');
  if (apiKey === '') {
    throw new ProblemError(
      problem('not_configured', 'HYPERNODE_API_KEY is not set', {
        field: 'HYPERNODE_API_KEY',
        next_action: 'Set HYPERNODE_API_KEY to a key of the engine with scope agent.',
      }),
    );
  }
  return {
    apiKey,
    url: urlOf(text(runtime, 'HYPERNODE_API_URL') || DEFAULT_URL),
    webhookSecrets: webhookSecrets(runtime),
    events: !turnedOff(runtime),
  };
}

/** The secrets that may have signed a webhook, newest first. */
export function webhookSecrets(runtime: IAgentRuntime): string[] {
  return text(runtime, 'HYPERNODE_WEBHOOK_SECRET').split(/\s+/).filter(Boolean);
}

function turnedOff(runtime: IAgentRuntime): boolean {
  // getSetting passes over a false that stands in the character's settings.
  const own = runtime.character.settings?.HYPERNODE_EVENTS;
  return own === false || text(runtime, 'HYPERNODE_EVENTS').toLowerCase() === 'false';
}

function text(runtime: IAgentRuntime, name: string): string {
  const value = runtime.getSetting(name);
  return value === null || value === undefined ? '' : String(value).trim();
}

function urlOf(given: string): string {
  const trimmed = given.replace(/\/+$/, '').replace(/\/v1$/, '');
  const usable = URL.canParse(trimmed) && /^https?:$/.test(new URL(trimmed).protocol);
  if (!usable) {
    throw new ProblemError(
      problem('not_configured', 'HYPERNODE_API_URL is no http or https address', {
        field: 'HYPERNODE_API_URL',
        next_action: `Set HYPERNODE_API_URL, for example to ${DEFAULT_URL}`,
      }),
    );
  }
  return trimmed;
}
