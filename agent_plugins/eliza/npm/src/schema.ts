/** The part of JSON Schema (2020-12) that the engine's tools use, checked before anything is sent. */
import { isObject, type Problem, invalid } from './problems.js';

export interface Schema {
  type?: string;
  description?: string;
  enum?: readonly unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  items?: Schema;
  maxItems?: number;
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  additionalProperties?: boolean | Schema;
  default?: unknown;
  [more: string]: unknown;
}

/** An action as the engine describes it: its tool, a valid input, and what each answer holds (`answers`). */
export interface ActionSchema {
  tool: string;
  summary: string;
  example: Readonly<Record<string, unknown>>;
  input: Schema;
  answers: readonly string[];
}

type Wrong = { field: string; detail: string };

/** What is wrong with the arguments, naming the field and showing a valid example; null = nothing. */
export function check(action: ActionSchema, given: Readonly<Record<string, unknown>>): Problem | null {
  const known = Object.keys(action.input.properties ?? {});
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    return invalid(`unknown field ${unknown.slice(0, 60)}; there are ${known.join(', ')}`, unknown.slice(0, 100), action.example);
  }
  const wrong = wrongIn(action.input, given, '');
  return wrong && invalid(wrong.detail, wrong.field, action.example);
}

function wrongIn(schema: Schema, value: unknown, field: string): Wrong | null {
  const bad = (detail: string): Wrong => ({ field, detail: `${field || 'the input'} ${detail}` });
  if (schema.enum && !schema.enum.includes(value)) {
    return bad(`must be one of ${schema.enum.map((one) => JSON.stringify(one)).join(', ')}`);
  }
  if (!hasType(schema.type, value)) return bad(`must be of type ${schema.type}`);
  if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) return bad(`must be at least ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) return bad(`must be at most ${schema.maximum}`);
  }
  if (typeof value === 'string') {
    if (value.length < (schema.minLength ?? 0)) return bad('must not be empty');
    if (value.length > (schema.maxLength ?? Infinity)) return bad(`must have at most ${schema.maxLength} characters`);
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
      return bad(`must match ${schema.pattern}`);
    }
  }
  if (Array.isArray(value)) {
    if (value.length > (schema.maxItems ?? Infinity)) return bad(`may hold at most ${schema.maxItems} items`);
    return first(value, (item, index) => schema.items && wrongIn(schema.items, item, `${field}[${index}]`));
  }
  return isObject(value) ? wrongMember(schema, value, field) : null;
}

function wrongMember(schema: Schema, value: Record<string, unknown>, field: string): Wrong | null {
  const path = (name: string): string => (field ? `${field}.${name}` : name);
  const missing = (schema.required ?? []).find((name) => value[name] === undefined);
  if (missing !== undefined) return { field: path(missing), detail: `${path(missing)} is missing` };
  return first(Object.entries(value), ([name, inner]) => {
    const known = schema.properties?.[name];
    if (known) return wrongIn(known, inner, path(name));
    return schema.additionalProperties === false ? { field: path(name), detail: `unknown field ${path(name)}` } : null;
  });
}

function hasType(type: string | undefined, value: unknown): boolean {
  switch (type) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      return Number.isSafeInteger(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'string':
    case 'boolean':
      return typeof value === type;
    default:
      return true;
  }
}

function first<T>(items: readonly T[], wrong: (item: T, index: number) => Wrong | null | undefined): Wrong | null {
  for (const [index, item] of items.entries()) {
    const found = wrong(item, index);
    if (found) return found;
  }
  return null;
}
