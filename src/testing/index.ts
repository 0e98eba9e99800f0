import '../check-node.ts';

export { FakeClock } from './fake-clock.ts';
export { seeded } from './seeded.ts';
export { backend, endpoint, type FakeBackend } from './values.ts';
