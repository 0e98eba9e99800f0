import '../check-node.ts';

export { type BalancerContext, balancerSuite } from './balancer-suite.ts';
export { FakeClock } from './fake-clock.ts';
export { FakeResolver } from './fake-resolver.ts';
export type { SuiteRunner } from './runner.ts';
export { seeded } from './seeded.ts';
export { backend, endpoint, type FakeBackend } from './values.ts';
