// The same package by require(), run by matrix.ts.
const assert = require('node:assert/strict');
const steersman = require('steersman');
const testing = require('steersman/testing');

assert.equal(typeof steersman.createFetch, 'function');
assert.equal(typeof steersman.kubernetes, 'function');
assert.equal(typeof testing.FakeCluster.start, 'function');
assert.equal(typeof testing.simulate, 'function');
const client = steersman.createClient('http://user-service:8080', { resolver: new testing.FakeResolver([]) });
client
  .fetch('/')
  .then(
    () => assert.fail('an empty set answered'),
    (error) => assert.equal((error.cause ?? error).code, 'STEERSMAN_ERR_NO_ENDPOINTS'),
  )
  .then(() => client.close())
  .then(() => console.log('smoke ok'));
