/** One simulation: a seed, so many steps. */
import { advanceClock, drain, resetClock, runImmediates, runTimers } from './clock.mjs';
import { Model } from './model.mjs';
import { Operations } from './operations.mjs';
import { Random } from './random.mjs';
import { addon } from './world.mjs';

const SOCKETS = 4;

/** Simulates; the model that was broken, or nothing. Not to be called from a promise's reaction. */
export function simulate(seed, steps) {
  const random = new Random(seed);
  const model = new Model();
  const operations = new Operations(random, model);
  begin(random);
  // What is done in a step, each as often as it stands here.
  const table = [
    ...[turn, turn, turn, advance, advance],
    ...['send', 'send', 'send', 'checkSend', 'arrive', 'arrive', 'arrive', 'receive', 'receive', 'receive'].map(on),
    ...['wait', 'wait', 'wait', 'abort', 'poll', 'icmp', 'refusePeer', 'commit', 'commit', 'commit', 'flush'].map(on),
  ];
  const seldom = [
    ...[
      'stream',
      'stream',
      'stream',
      'dropStream',
      'close',
      'sendAll',
      'sendAll',
      'iterate',
      'waitForAny',
      'waitForAny',
    ].map(on),
    () => operations.refuseWatch(),
  ];

  function on(name) {
    return () => operations[name](random.of(model.sockets));
  }
  function advance() {
    const ticks = random.from(1, 20);
    model.note('advance', ticks);
    advanceClock(ticks);
    addon.simulateAdvance(ticks);
    model.look();
  }
  function settle() {
    drain();
    if (model.broken !== undefined) throw model.broken;
  }
  function turn() {
    runTimers();
    settle();
    model.note('turn');
    const due = model.due();
    const reading = [...model.readers]
      .filter(({ parts: [{ socket, kind }] }) => socket.incoming !== undefined && socket.isReady(kind) === true)
      .map((reader) => ({ reader, before: reader.receives }));
    addon.simulateTurn(drain, random.below(2));
    settle();
    runImmediates();
    settle();
    for (const { reader, before } of reading) {
      const [{ socket }] = reader.parts;
      reader.missed = reader.receives === before ? reader.missed + 1 : 0;
      // In one turn it may have given others theirs.
      if (reader.missed > 1 && model.readers.has(reader) && socket.incoming !== undefined)
        model.fail(`a loop over the batches of socket ${socket.descriptor} sleeps, and there is something`);
    }
    const still = model.due();
    for (const wait of due) {
      if (!still.includes(wait)) continue;
      const parts = wait.parts.map(({ socket, kind }) => `${kind} of socket ${socket.descriptor}`);
      model.fail(`a wait for ${parts.join(', ')} sleeps, and it is there`);
    }
  }

  try {
    for (model.step = 0; model.step < steps; model.step++) {
      while (model.sockets.length < SOCKETS) operations.open();
      const act = random.once(25) ? random.of(seldom) : random.of(table);
      act();
      settle();
      operations.settled();
      for (const { dropped, controller } of model.waits) {
        if (dropped || controller?.signal.aborted)
          model.fail('a wait goes on, of which the resource was dropped or the signal aborted');
      }
    }
    model.note('the end');
    for (const socket of [...model.sockets]) operations.close(socket);
    settle();
    // What pauses, or gives others their turn, goes on.
    for (let turns = 0; turns < 10 && model.loops > 0; turns++) {
      advanceClock(10);
      turn();
    }
    if (model.loops > 0) model.fail(`${model.loops} loops go on at the end`);
    if (model.waits.size > 0) model.fail(`${model.waits.size} waits go on at the end`);
    const [open, waited] = addon.simulateOpen();
    if (open + waited > 0) model.fail(`${open} sockets are open at the end, and ${waited} waited for`);
  } catch (error) {
    model.broken ??= error;
    for (const { front } of model.sockets) front.leave();
    drain();
  }
  resetClock();
  return model.broken === undefined ? undefined : model;
}

/** Begins anew, with a kernel of that seed. */
function begin(random) {
  const often = (perMille) => (random.once(2) ? 0 : perMille);
  const settings = {
    interrupts: often(50),
    noBuffers: often(20),
    meanwhile: often(200),
    unreachable: often(50),
    refusesOffload: often(50),
    splits: often(100),
    largestSegment: random.of([1500, 1500, 100, 0]),
    sendBuffer: random.of([2000, 20_000, 200_000]),
    receiveBuffer: random.of([5000, 100_000]),
    drain: random.of([1, 5, 30]),
    oneByOne: random.once(4) ? 1 : 0,
    noErrorQueue: random.once(8) ? 1 : 0,
  };
  addon.simulate(random.next() | 0, Int32Array.from(Object.values(settings)));
}
