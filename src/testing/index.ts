import '../check-node.ts';

export { type BalancerContext, balancerSuite } from './balancer-suite.ts';
export { type DistributionOptions, distributionSuite } from './distribution-suite.ts';
export { FakeClock } from './fake-clock.ts';
export type { FakeApi } from './fake-cluster/api-server.ts';
export type { Cut } from './fake-cluster/event-stream.ts';
export type { ApiRecord } from './fake-cluster/exchange.ts';
export type { ApiFailure } from './fake-cluster/failures.ts';
export type { FakeService } from './fake-cluster/fake-service.ts';
export type { ApiTls } from './fake-cluster/listener.ts';
export type { KubeObject, ObjectMeta } from './fake-cluster/objects.ts';
export type { FakePod, PodHandler, Termination } from './fake-cluster/pod.ts';
export type { PodFailure } from './fake-cluster/pod-failure.ts';
export type { Rule } from './fake-cluster/rbac.ts';
export type { Rollout } from './fake-cluster/rollout.ts';
export type { FakeServiceOptions, ServicePort } from './fake-cluster/service-options.ts';
export type { VirtualIp } from './fake-cluster/virtual-ip.ts';
export type { Manifest } from './fake-cluster/writing.ts';
export { FakeCluster, type FakeClusterOptions } from './fake-cluster.ts';
export { FakeResolver } from './fake-resolver.ts';
export { type FakeReply, type FakeRequest, type FakeServer, FakeTransport } from './fake-transport.ts';
export { type ResolverSubject, resolverSuite } from './resolver-suite.ts';
export type { SuiteRunner } from './runner.ts';
export { seeded } from './seeded.ts';
export {
  type Distribution,
  type Happening,
  type Policy,
  type PolicyContext,
  type PolicyResult,
  type RunResult,
  type Scenario,
  type SimulateOptions,
  type SimulationResult,
  scenarios,
  simulate,
  simulationSvg,
  simulationTable,
} from './simulate.ts';
export { transportSuite } from './transport-suite.ts';
export { backend, endpoint, type FakeBackend } from './values.ts';
