// Going back: to an event, to a day, to the beginning; with the members as they
// were, loaded when they are needed.

import assert from "node:assert/strict";
import { Direction, Filter, TimelineWindow } from "matrix-js-sdk";
import { bodies, meet, sends, until } from "../app.mjs";

const texts = (events) => events.filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
const drops = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `drop ${from + i}`);

export default async function ({ arrive, another, chapter }) {
  const [alice, bob, carol] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Carol")]);
  const roomId = await meet([alice, bob, carol]);
  const ids = [];
  for (let i = 1; i <= 40; i++) ids.push((await (i % 10 ? alice : carol).sendTextMessage(roomId, `drop ${i}`)).event_id);
  await until(bob, () => bodies(bob.getRoom(roomId)).includes("drop 40"));

  const phone = await another(bob, { initialSyncLimit: 5, lazyLoadMembers: true });
  const room = phone.getRoom(roomId);
  assert.deepEqual(bodies(room), drops(36, 40));
  assert.deepEqual(room.getMembers().map((member) => member.name).sort(), ["Alice", "Bob", "Carol"]);
  await room.loadMembersIfNeeded();
  assert.equal(room.getJoinedMembers().length, 3);
  chapter("members come with what they have said, the others when asked for");

  const link = new TimelineWindow(phone, room.getUnfilteredTimelineSet(), { windowLimit: 100 });
  await link.load(ids[14], 5);
  const shown = texts(link.getEvents());
  assert.ok(shown.includes("drop 15"));
  assert.deepEqual(shown, drops(Number(shown[0].slice(5)), Number(shown.at(-1).slice(5))));
  assert.ok(link.canPaginate(Direction.Backward) && link.canPaginate(Direction.Forward));
  while (await link.paginate(Direction.Forward, 4));
  assert.equal(texts(link.getEvents()).at(-1), "drop 40");
  while (await link.paginate(Direction.Backward, 7));
  assert.deepEqual(texts(link.getEvents()), drops(1, 40));
  assert.equal(link.getEvents()[0].getType(), "m.room.create");
  chapter("a link opens amid the room, and reading on meets the present without gaps or doubles");

  const read = link.getEvents().map((event) => event.getId());
  assert.equal(new Set(read).size, read.length);
  const senders = new Set(link.getEvents().map((event) => event.sender?.name));
  assert.deepEqual([...senders].sort(), ["Alice", "Bob", "Carol"]);
  await sends(alice, roomId, "drop 41", phone);
  assert.ok(await link.paginate(Direction.Forward, 4));
  assert.equal(texts(link.getEvents()).at(-1), "drop 41");
  chapter("what is said meanwhile joins it");

  const day = room.findEventById(ids[19]).getTs();
  const there = await phone.timestampToEvent(roomId, day, Direction.Forward);
  assert.ok(there.origin_server_ts >= day);
  const { event_id: first } = await phone.timestampToEvent(roomId, 0, Direction.Forward);
  assert.equal(first, read[0]);
  const { event_id: last } = await phone.timestampToEvent(roomId, Date.now() + 60_000, Direction.Backward);
  assert.equal(room.findEventById(last).getContent().body, "drop 41");
  await assert.rejects(phone.timestampToEvent(roomId, 0, Direction.Backward), { errcode: "M_NOT_FOUND" });
  chapter("a day is found");

  const tablet = await another(bob, { initialSyncLimit: 2, lazyLoadMembers: true });
  const small = tablet.getRoom(roomId);
  const filter = new Filter(tablet.getUserId());
  filter.setDefinition({ room: { timeline: { limit: 3, senders: [carol.getUserId()], types: ["m.room.message"] } } });
  const filterId = await tablet.getOrCreateFilter("carols", filter);
  assert.equal(await tablet.getOrCreateFilter("carols", filter), filterId);
  assert.deepEqual((await tablet.getFilter(tablet.getUserId(), filterId, false)).getDefinition(), filter.getDefinition());
  const only = small.getOrCreateFilteredTimelineSet(filter);
  const carols = new TimelineWindow(tablet, only, { windowLimit: 100 });
  await carols.load(undefined, 3);
  while (await carols.paginate(Direction.Backward, 3));
  assert.deepEqual(texts(carols.getEvents()), ["drop 10", "drop 20", "drop 30", "drop 40"]);
  chapter("a filter shows what one has said");

  while (small.getLiveTimeline().getPaginationToken(Direction.Backward)) await tablet.scrollback(small, 9);
  assert.deepEqual(bodies(small), drops(1, 41));
  const joined = small.getLiveTimeline().getEvents().find((event) => event.getType() === "m.room.member" && event.getStateKey() === carol.getUserId());
  assert.equal(joined.getContent().membership, "invite");
  assert.equal(small.getMember(carol.getUserId()).membership, "join");
  chapter("scrolling back leaves the members as they are");
}
