/**
 * Checks the Kubernetes watch against a real API server: the one of the current kubeconfig (or of KUBECONFIG, and
 * --context). Makes a namespace of its own, works on Services and EndpointSlices in it only by the API, so that no
 * node or controller is needed, prints a report and removes the namespace. Exit code 1 where a check fails.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { holdProcess } from '../src/core/clock.ts';
import { Admin, Sandbox } from './cluster/admin.ts';
import { checks, Scene, Skipped } from './cluster/checks.ts';

const { values } = parseArgs({ options: { context: { type: 'string' }, only: { type: 'string' } } });
const { context, only } = values;

// The watch's connections never keep a process alive; this one has to see them through.
const letGo = holdProcess();
const admin = await Admin.connect(context).catch((error: Error): never => {
  console.error(error.message);
  process.exit(1);
});
const version = await admin.request('GET', '/version').catch(() => ({ gitVersion: 'unknown' }));
console.log(`API server ${admin.credentials.server}, version ${String(version['gitVersion'])}`);

const box = new Sandbox(admin, `steersman-test-${randomBytes(4).toString('hex')}`);
try {
  await box.create();
} catch (error) {
  console.error(`cannot make a namespace to test in: ${(error as Error).message}`);
  process.exit(1);
}
console.log(`namespace ${box.namespace}\n`);

const wanted = checks.filter(({ name }) => name.includes(only ?? ''));
let failed = 0;
let skipped = 0;
try {
  for (const check of wanted) {
    const scene = new Scene(box, context === undefined ? {} : { context });
    const start = performance.now();
    try {
      const more = await check.run(scene);
      console.log(
        `ok    ${check.name} (${(performance.now() - start).toFixed(0)} ms${more === undefined ? '' : `; ${more}`})`,
      );
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof Skipped) skipped++;
      else failed++;
      console.log(`${error instanceof Skipped ? 'skip ' : 'FAIL '} ${check.name}: ${message}`);
    } finally {
      await scene.close();
    }
  }
} finally {
  await box.destroy();
  await admin.close();
  letGo();
}
console.log(
  `\n${wanted.length - failed - skipped} of ${wanted.length} hold, ${failed} fail, ${skipped} could not be made here`,
);
process.exitCode = failed === 0 ? 0 : 1;
