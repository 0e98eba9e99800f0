import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '../../fixtures/kube');

/** A table of kube-proxy's own cases, as JSON. */
export function cases<T>(name: string): T[] {
  return (JSON.parse(readFileSync(join(folder, 'cases', `${name}.json`), 'utf8')) as { cases: T[] }).cases;
}

/** The bytes of an answer a real API server has given, head and chunk framing included. */
export function transcript(name: string): Buffer {
  return readFileSync(join(folder, 'transcripts', `${name}.raw`));
}

export function transcriptInfo(name: string): { request: { method: string; path: string }; ended: string } {
  return JSON.parse(readFileSync(join(folder, 'transcripts', `${name}.json`), 'utf8'));
}
