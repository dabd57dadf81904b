// What a user keeps on the server for their devices: settings, tags, which rooms
// are direct, whom to ignore. And what is gone in a moment: that somebody types.

import assert from "node:assert/strict";
import { meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const phone = await another(bob);
  const room = (client) => client.getRoom(roomId);

  // setAccountData resolves when it has come back by /sync.
  await bob.setAccountData("org.example.umbrella", { colour: "red" });
  await until(phone, () => phone.getAccountData("org.example.umbrella")?.getContent().colour === "red");
  assert.deepEqual(await phone.getAccountDataFromServer("org.example.umbrella"), { colour: "red" });
  assert.equal(await phone.getAccountDataFromServer("org.example.never"), null);
  chapter("a setting of one device is known to the other");

  await bob.setRoomAccountData(roomId, "m.marked_unread", { unread: true });
  await until(phone, () => room(phone).getAccountData("m.marked_unread")?.getContent().unread === true);
  await bob.setRoomAccountData(roomId, "m.marked_unread", { unread: false });
  await until(phone, () => room(phone).getAccountData("m.marked_unread").getContent().unread === false);
  chapter("a room is marked as unread, and as read");

  await bob.setRoomTag(roomId, "m.favourite", { order: 0.25 });
  await until(phone, () => room(phone).tags["m.favourite"]?.order === 0.25);
  assert.deepEqual(await phone.getRoomTags(roomId), { tags: { "m.favourite": { order: 0.25 } } });
  await phone.setRoomTag(roomId, "u.weather");
  await phone.deleteRoomTag(roomId, "m.favourite");
  await until(bob, () => Object.keys(room(bob).tags).join() === "u.weather");
  assert.deepEqual(room(alice).tags, {});
  chapter("rooms have tags, each user's own");

  await bob.setAccountData("m.direct", { [alice.getUserId()]: [roomId] });
  await until(phone, () => phone.getAccountData("m.direct")?.getContent()[alice.getUserId()]?.[0] === roomId);
  chapter("a room becomes a direct chat on every device");

  const typing = (client, of) => room(client).getMember(of.getUserId())?.typing ?? false;
  await alice.sendTyping(roomId, true, 20_000);
  for (const client of [bob, phone]) await until(client, () => typing(client, alice));
  await alice.sendTyping(roomId, false);
  for (const client of [bob, phone]) await until(client, () => !typing(client, alice));
  await alice.sendTyping(roomId, true, 3_000);
  await until(bob, () => typing(bob, alice));
  await until(bob, () => !typing(bob, alice));
  chapter("who types is seen until they stop, or vanish");

  const other = await meet([alice, bob]);
  await bob.setIgnoredUsers([alice.getUserId()]);
  await until(phone, () => phone.isUserIgnored(alice.getUserId()));
  const { event_id: unheard } = await alice.sendTextMessage(roomId, "can you hear me?");
  await bob.sendTextMessage(other, "it is quiet");
  await until(phone, () => phone.getRoom(other).getLastLiveEvent()?.getContent().body === "it is quiet");
  for (const client of [bob, phone]) assert.equal(room(client).findEventById(unheard), undefined);
  const tablet = await another(bob);
  assert.equal(room(tablet).findEventById(unheard), undefined);
  await bob.setIgnoredUsers([]);
  await until(phone, () => !phone.isUserIgnored(alice.getUserId()));
  await sends(alice, roomId, "and now?", bob, phone);
  chapter("the ignored are not heard until they are no longer ignored");
}
