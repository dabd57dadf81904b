// Threads, as an app shows them beside the room.

import assert from "node:assert/strict";
import { Direction } from "matrix-js-sdk";
import { answers, bodies, meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const [hers, his] = [alice.getRoom(roomId), bob.getRoom(roomId)];
  const answer = (client, root, body) => answers(client, roomId, root, body);

  const [rain] = await sends(alice, roomId, "rain?", alice, bob);
  const [snow] = await sends(alice, roomId, "snow?", alice, bob);
  await answer(bob, rain, "rain 1");
  const second = await answer(bob, rain, "rain 2");
  const thread = await until(alice, () => hers.getThread(rain.getId()));
  await until(alice, () => thread.replyToEvent?.getId() === second);
  await until(alice, () => bodies(thread).join() === "rain?,rain 1,rain 2");
  // The SDK may show an answer of the app's own twice, if /sync has it before the PUT
  // is answered and the thread is being read.
  await until(bob, () => [...new Set(bodies(his.getThread(rain.getId())))].sort().join() === "rain 1,rain 2,rain?");
  assert.equal(his.getThread(rain.getId()).hasCurrentUserParticipated, true);
  for (const room of [hers, his]) assert.deepEqual(bodies(room), ["rain?", "snow?"]);
  chapter("what is said in a thread is in the thread, and not in the room");

  await answer(alice, snow, "snow 1");
  await until(bob, () => his.getThread(snow.getId())?.length === 1);
  assert.equal(his.getThread(snow.getId()).hasCurrentUserParticipated, false);
  const third = await answer(alice, rain, "rain 3");
  await until(bob, () => his.getThread(rain.getId()).replyToEvent?.getId() === third);
  chapter("each thread has a last reply");

  const phone = await another(bob, { initialSyncLimit: 1 });
  const onPhone = phone.getRoom(roomId);
  const [every] = await onPhone.createThreadsTimelineSets();
  await onPhone.fetchRoomThreads();
  // The thread in which something was said last is the last of the list.
  assert.deepEqual(bodies(every), ["snow?", "rain?"]);
  const far = onPhone.getThread(rain.getId());
  await until(phone, () => far.length === 3 && far.replyToEvent?.getId() === third);
  await until(phone, () => onPhone.getThread(snow.getId()).initialEventsFetched);
  await answer(alice, snow, "snow 2");
  await until(phone, () => onPhone.getThread(snow.getId()).length === 2);
  chapter("a new device lists the threads, the liveliest first");

  for (let i = 4; i <= 25; i++) await answer(alice, rain, `rain ${i}`);
  await answer(alice, snow, "snow 3");
  const laptop = await another(bob, { initialSyncLimit: 1 });
  const onLaptop = laptop.getRoom(roomId);
  const [lists] = await onLaptop.createThreadsTimelineSets();
  await onLaptop.fetchRoomThreads();
  assert.deepEqual(bodies(lists), ["rain?", "snow?"]);
  const long = await until(laptop, () => onLaptop.getThread(rain.getId()));
  await until(laptop, () => long.initialEventsFetched && long.length === 25);
  while (await laptop.paginateEventTimeline(long.liveTimeline, { backwards: true, limit: 7 }));
  assert.deepEqual(bodies(long), ["rain?", ...Array.from({ length: 25 }, (_, i) => `rain ${i + 1}`)]);
  chapter("a long thread is read back to its root, without gaps or doubles");

  const around = await laptop.getEventTimeline(long.timelineSet, second);
  assert.ok(around.getEvents().some((event) => event.getId() === second));
  const page = await laptop.relations(roomId, rain.getId(), "m.thread", null, { dir: Direction.Forward, limit: 2 });
  assert.deepEqual(page.events.map((event) => event.getContent().body), ["rain 1", "rain 2"]);
  assert.ok(page.nextBatch);
  chapter("a link into a thread opens the thread there");

  await bob.redactEvent(roomId, thread.id, second);
  await until(alice, () => !bodies(thread).includes("rain 2"));
  const tablet = await another(bob, { initialSyncLimit: 1 });
  const root = tablet.getEventMapper()(await tablet.fetchRoomEvent(roomId, rain.getId()));
  assert.equal(root.getServerAggregatedRelation("m.thread").count, 24);
  chapter("a redacted reply no longer counts");
}
