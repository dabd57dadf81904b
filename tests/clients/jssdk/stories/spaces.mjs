// Spaces: rooms that list rooms.

import assert from "node:assert/strict";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const create = async (name, options = {}) => (await alice.createRoom({ name, preset: "public_chat", ...options })).room_id;
  const space = (name) => create(name, { creation_content: { type: "m.space" } });
  const put = (child, parent, content = {}) => alice.sendStateEvent(parent, "m.space.child", { via: ["localhost"], ...content }, child);

  const [weather, wet, rain, snow] = [await space("Weather"), await space("Wet"), await create("Rain"), await create("Snow")];
  const secret = await create("Storm", { preset: "private_chat" });
  const members = await create("Fog", {
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: weather }] } }],
  });
  await put(wet, weather, { order: "a" });
  await put(snow, weather, { order: "b", suggested: true });
  await put(members, weather, { order: "c" });
  await put(rain, wet);
  await put(secret, wet);
  await until(alice, () => alice.getRoom(weather)?.currentState.getStateEvents("m.space.child").length === 3);
  assert.equal(alice.getRoom(weather).isSpaceRoom(), true);
  assert.equal(alice.getRoom(rain).isSpaceRoom(), false);
  chapter("a space is a room with rooms in it");

  const walk = async (client, pageSize, maxDepth, suggested) => {
    const hierarchy = new RoomHierarchy({ roomId: weather, client }, pageSize, maxDepth, suggested);
    while (hierarchy.canLoadMore) await hierarchy.load();
    return hierarchy;
  };
  const names = (hierarchy) => hierarchy.rooms.map((room) => room.name);
  assert.deepEqual(names(await walk(alice)), ["Weather", "Wet", "Rain", "Storm", "Snow", "Fog"]);
  const whole = await walk(bob, 2);
  assert.deepEqual(names(whole), ["Weather", "Wet", "Rain", "Snow"]);
  assert.equal(whole.rooms.find((room) => room.room_id === wet).room_type, "m.space");
  assert.equal(whole.isSuggested(weather, snow), true);
  assert.ok(!whole.isSuggested(weather, wet));
  assert.deepEqual(names(await walk(bob, 20, 1)), ["Weather", "Wet", "Snow"]);
  assert.deepEqual(names(await walk(bob, 20, undefined, true)), ["Weather", "Snow"]);
  chapter("a stranger walks through it page by page, and sees what is public");

  await bob.joinRoom(weather);
  assert.deepEqual(names(await walk(bob, 3)), ["Weather", "Wet", "Rain", "Snow", "Fog"]);
  await bob.joinRoom(members);
  await until(bob, () => bob.getRoom(members)?.getMyMembership() === "join");
  chapter("who is in the space may join what is for its members");

  await alice.sendStateEvent(weather, "m.space.child", {}, snow);
  await until(bob, () => !bob.getRoom(weather).currentState.getStateEvents("m.space.child", snow).getContent().via);
  assert.deepEqual(names(await walk(bob)), ["Weather", "Wet", "Rain", "Fog"]);
  chapter("a room is taken out of the space");

  const summary = await bob.getRoomSummary(rain);
  assert.equal(summary.name, "Rain");
  assert.equal(summary.num_joined_members, 1);
  await assert.rejects(bob.getRoomSummary(secret), { httpStatus: 404 });
  chapter("a preview tells what a room is about");
}
