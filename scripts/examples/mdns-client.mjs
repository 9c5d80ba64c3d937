// What two clients from elsewhere find of a service: `mdns-client.mjs OWN_ADDRESS SERVER_ADDRESS SERVICE`. multicast-dns asks the
// group; the resolver of node:dns asks the server by plain DNS. Prints what each of them heard as JSON.
import { Resolver } from 'node:dns/promises';
import { setTimeout } from 'node:timers/promises';
import multicastDns from 'multicast-dns';

const [own, server, service] = process.argv.slice(2);

async function byMulticast() {
  const client = multicastDns({ interface: own, bind: '0.0.0.0' });
  const heard = [];
  client.on('response', ({ answers, additionals }) => heard.push(...answers, ...additionals));
  /** The data of the first record that tells the name; asked again each second, as packets may be lost. */
  async function ask(name, type) {
    for (let i = 0; i < 100; i++) {
      if (i % 10 === 0) client.query(name, type);
      await setTimeout(100);
      const record = heard.find((other) => other.name === name && other.type === type);
      if (record) return record.data;
    }
    return undefined;
  }
  const name = await ask(service, 'PTR');
  const { target, port } = (await ask(name, 'SRV')) ?? {};
  const text = (await ask(name, 'TXT'))?.map(String);
  const address = await ask(target, 'A');
  client.destroy();
  return { name, target, port, text, address };
}

async function byResolver(host) {
  const resolver = new Resolver();
  resolver.setServers([`${server}:5353`]);
  return {
    services: await resolver.resolvePtr('_services._dns-sd._udp.local'),
    addresses: await resolver.resolve4(host),
  };
}

const found = await byMulticast();
console.log(JSON.stringify([found, await byResolver(found.target)]));
