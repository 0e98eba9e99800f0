import type { Dispatcher } from 'undici';
import type { Endpoint } from './endpoint.ts';

/** Who a service is, whichever of its endpoints answers. */
export interface ServiceIdentity {
  /** `http://orders.shop:8080`: what `Host`, tracing and certificates go by. */
  readonly origin: string;
  readonly protocol: string;
  /** The name a certificate must carry, and SNI: the service's, never an address. */
  readonly servername: string;
}

/** Makes the dispatcher that talks to one endpoint of a service. */
export type Transport = (service: ServiceIdentity, endpoint: Endpoint) => Dispatcher;
