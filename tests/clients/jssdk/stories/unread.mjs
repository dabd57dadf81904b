// What one has not read yet: counts of rooms and of threads.

import assert from "node:assert/strict";
import { answers, meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const phone = await another(bob);
  const count = (client, type = "total") => client.getRoom(roomId).getRoomUnreadNotificationCount(type);
  const inThread = (client, root, type = "total") => client.getRoom(roomId).getThreadUnreadNotificationCount(root.getId(), type);
  const both = [bob, phone];

  const [one, hers] = await sends(alice, roomId, "one", bob, alice);
  await sends(alice, roomId, { msgtype: "m.text", body: "two", "m.mentions": { user_ids: [bob.getUserId()] } }, bob);
  await sends(alice, roomId, { msgtype: "m.notice", body: "beep" }, bob);
  for (const client of both) await until(client, () => count(client) === 2 && count(client, "highlight") === 1);
  assert.equal(count(alice), 0);
  chapter("what rings is counted, and what rings louder apart");

  const tablet = await another(bob);
  assert.equal(count(tablet), 2);
  assert.equal(count(tablet, "highlight"), 1);
  chapter("also on a device that comes later");

  await bob.sendReadReceipt(one);
  for (const client of [phone, tablet]) await until(client, () => count(client) === 1 && count(client, "highlight") === 1);
  chapter("what is read up to a point is not counted");

  const reply = await answers(alice, roomId, hers, "in the thread");
  const thread = await until(bob, () => bob.getRoom(roomId).getThread(one.getId()));
  const answer = await until(bob, () => thread.findEventById(reply));
  for (const client of both) await until(client, () => inThread(client, one) === 1);
  for (const client of [phone, tablet]) assert.equal(count(client), 1);
  await bob.sendReadReceipt(answer);
  for (const client of [phone, tablet]) await until(client, () => inThread(client, one) === 0);
  assert.equal(count(phone), 1);
  chapter("a thread is counted on its own");

  await sends(bob, roomId, "I have read it all", alice);
  for (const client of [phone, tablet]) await until(client, () => count(client) === 0);
  chapter("who answers has read");

  await bob.setRoomMutePushRule("global", roomId, true);
  const [quiet] = await sends(alice, roomId, "quietly", phone);
  await until(phone, () => phone.getRoom(roomId).getLastLiveEvent().getId() === quiet.getId());
  assert.equal(count(phone), 0);
  chapter("a muted room counts nothing");
}
