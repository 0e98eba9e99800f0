import { describe, it } from 'vitest';
import { balancerSuite } from '../../src/testing/balancer-suite.ts';
import { distributionSuite } from '../../src/testing/distribution-suite.ts';
import { balancers } from './support.ts';

for (const [name, make] of Object.entries(balancers)) {
  describe(name, () => {
    balancerSuite(make, { describe, it });
    // With a bound keys go elsewhere under load, which is not a change of the set.
    distributionSuite(make, { hashing: name === 'consistentHash' }, { describe, it });
  });
}
