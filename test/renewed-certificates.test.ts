import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect, it, vi } from 'vitest';
import { mutualTls } from '../examples/renewed-certificates.ts';
import { FakeResolver } from '../src/testing/fake-resolver.ts';
import { ca, identity } from './support/tls.ts';

const fixtures = join(import.meta.dirname, 'fixtures/tls');

/** The folder is as the kubelet keeps it: a link to the current version, which is replaced as a whole. */
it('a certificate that was renewed on disk is shown as soon as the folder has it', async () => {
  // Of the last event, when the folder is gone.
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  const folder = await mkdtemp(join(tmpdir(), 'tls-'));
  const put = async (name: string): Promise<void> => {
    await mkdir(join(folder, name));
    const pairs = { 'ca.crt': 'ca.crt', 'tls.crt': `${name}.crt`, 'tls.key': `${name}.key` };
    for (const [to, from] of Object.entries(pairs))
      await copyFile(join(fixtures, from), join(folder, name, to));
    await symlink(name, join(folder, 'next'));
    await rename(join(folder, 'next'), join(folder, '..data'));
  };
  await put('client');
  for (const file of ['ca.crt', 'tls.crt', 'tls.key']) await symlink(`..data/${file}`, join(folder, file));

  const server = createServer({ ...identity('orders'), ca, requestCert: true }, (request, response) => {
    response.end(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const resolver = new FakeResolver([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
  const client = await mutualTls('https://orders.shop', folder, { resolver });
  const shown = async (): Promise<string> => (await client.fetch('/')).text();
  const before = await shown();
  await put('orders');
  await expect.poll(shown).not.toBe(before);
  await client.close();
  server.close();
  await rm(folder, { recursive: true });
});
