import { isIP, type Socket } from 'node:net';
import type { Pool as PoolType } from 'undici';
import type { Clock, Random } from '../core/clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { ServiceIdentity, Transport } from '../core/transport.ts';
import { buildConnector, errors, Pool } from '../undici/index.ts';
import { CarefulClient, IdleLimit } from './careful-client.ts';
import { lateness } from './deadlines.ts';
import type { PoolOptions, TlsOptions } from './options.ts';
import { UpgradingPool } from './upgrading-pool.ts';

export interface PoolSettings extends PoolOptions {
  readonly tls?: TlsOptions;
  /** ms */
  readonly connectTimeout: number;
  /** ms */
  readonly idleTimeout: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** undici's margin between the server's keep-alive hint and ours, in ms. */
const hintMargin = 2_000;

/**
 * The transport of production: one undici Pool per endpoint, whose origin is the service and whose connections go to
 * the endpoint's address. So `Host`, SNI, the certificate check and tracing keep the service's name.
 */
export function poolTransport(settings: PoolSettings): Transport {
  const {
    tls,
    connections,
    keepAliveTimeout = 4_000,
    allowH2 = false,
    maxConnectionAge,
    clock,
    random,
  } = settings;
  const connectors = new Map<string, Connector>();

  /** One connector per name, so that TLS sessions are shared by the endpoints of a service. */
  const connectorOf = (service: ServiceIdentity, allowH2: boolean): Connector => {
    const key = `${allowH2} ${service.servername}`;
    let connector = connectors.get(key);
    if (connector === undefined) {
      const { servername: _, ...material } = tls ?? {};
      connector = buildConnector({
        ...material,
        // Said, so that NODE_TLS_REJECT_UNAUTHORIZED cannot turn the check off.
        rejectUnauthorized: true,
        // Said as well: for a name that is an address, which is no SNI, the check would be for the endpoint's.
        checkServerIdentity: (_, certificate) =>
          process.getBuiltinModule('node:tls').checkServerIdentity(service.servername, certificate),
        allowH2,
        // undici's own connect timeout is coarse below a second.
        timeout: 0,
      } as buildConnector.BuildOptions);
      connectors.set(key, connector);
    }
    return connector;
  };

  return (service, endpoint) => {
    const age =
      maxConnectionAge === undefined || maxConnectionAge === Number.POSITIVE_INFINITY
        ? undefined
        : maxConnectionAge * (0.9 + 0.2 * random());
    const limit = new IdleLimit(clock);
    const options = (allowH2: boolean): PoolType.Options => ({
      factory: (origin, options) => CarefulClient.of(origin, options, limit, age ?? Number.POSITIVE_INFINITY),
      connect: pinned(connectorOf(service, allowH2), service, endpoint, settings),
      connections: connections === undefined || connections === Number.POSITIVE_INFINITY ? null : connections,
      keepAliveTimeout,
      keepAliveTimeoutThreshold: hintMargin,
      // The deadline of the call covers the headers.
      headersTimeout: 0,
      bodyTimeout: settings.idleTimeout === Number.POSITIVE_INFINITY ? 0 : settings.idleTimeout,
      allowH2,
      ...(age === undefined ? {} : { clientTtl: age }),
    });
    const plain = (): Pool => new Pool(service.origin, options(false));
    return allowH2 ? new UpgradingPool(new Pool(service.origin, options(true)), plain) : plain();
  };
}

type Connector = ReturnType<typeof buildConnector>;

/** Connects to the endpoint whatever is asked for, as the service, within the connect timeout. */
function pinned(
  connector: Connector,
  service: ServiceIdentity,
  endpoint: Endpoint,
  { clock, connectTimeout }: PoolSettings,
): Connector {
  const secure = service.protocol === 'https:';
  const dial = (options: buildConnector.Options, callback: buildConnector.Callback): Socket | undefined => {
    let cancel = (): void => {};
    const socket = connector(
      {
        ...options,
        hostname: endpoint.address,
        port: String(endpoint.port),
        // Never the Host header of a request: it may not choose whose certificate is good.
        // An address is no SNI (RFC 6066 §3).
        servername: secure && isIP(service.servername) === 0 ? service.servername : undefined,
      } as buildConnector.Options,
      (...result) => {
        cancel();
        callback(...(result as Parameters<buildConnector.Callback>));
      },
    ) as unknown as Socket | undefined;
    if (connectTimeout === Number.POSITIVE_INFINITY) return socket;
    const expire = (): void => {
      const { address, port } = endpoint;
      socket?.destroy(
        new errors.ConnectTimeoutError(
          `connect timeout: ${address} port ${port} did not answer in ${connectTimeout} ms`,
        ),
      );
    };
    const arm = (delay: number, excused: boolean): void => {
      const due = clock.now() + delay;
      cancel = clock.schedule(delay, () => {
        const late = clock.now() - due;
        // After a stall of our own the handshake gets that time back, once: it takes several turns of the loop.
        if (late > lateness && !excused) arm(Math.min(late, connectTimeout), true);
        else expire();
      });
    };
    arm(connectTimeout, false);
    return socket;
  };
  return dial as unknown as Connector;
}
