// How far people have read: receipts for all, receipts for oneself, receipts in a
// thread, and the line where one left off.

import assert from "node:assert/strict";
import { ReceiptType } from "matrix-js-sdk";
import { answers, meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob, carol] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Carol")]);
  const roomId = await meet([alice, bob, carol]);
  const room = (client) => client.getRoom(roomId);
  const upTo = (client, of) => room(client).getEventReadUpTo(of.getUserId(), true);

  const [one, his1, hers1] = await sends(alice, roomId, "one", alice, bob, carol);
  const [two, his2] = await sends(alice, roomId, "two", alice, bob, carol);
  await bob.sendReadReceipt(his1);
  for (const client of [alice, carol]) await until(client, () => upTo(client, bob) === one.getId());
  assert.equal(room(alice).hasUserReadEvent(bob.getUserId(), one.getId()), true);
  assert.equal(room(alice).hasUserReadEvent(bob.getUserId(), two.getId()), false);
  assert.deepEqual(room(alice).getUsersReadUpTo(one).includes(bob.getUserId()), true);
  chapter("all see how far one has read");

  const phone = await another(bob);
  assert.equal(upTo(phone, bob), one.getId());
  assert.equal(upTo(phone, carol), null);
  await bob.sendReadReceipt(his2, ReceiptType.ReadPrivate);
  await until(phone, () => room(phone).getReadReceiptForUserId(bob.getUserId(), true, ReceiptType.ReadPrivate)?.eventId === two.getId());
  assert.equal(upTo(phone, bob), two.getId());
  // What comes after it has come, and the receipt has not. (Receipts come with the
  // next message, or in a while.)
  await carol.sendReadReceipt(hers1);
  await sends(carol, roomId, "I see", alice);
  await until(alice, () => room(alice).getReadReceiptForUserId(carol.getUserId(), true)?.eventId === one.getId());
  assert.equal(upTo(alice, bob), one.getId());
  assert.equal(room(alice).getReadReceiptForUserId(bob.getUserId(), true, ReceiptType.ReadPrivate), null);
  chapter("a private receipt is for one's own devices only");

  const reply = await answers(alice, roomId, one, "in the thread");
  const thread = await until(bob, () => room(bob).getThread(one.getId()));
  const inThread = await until(bob, () => thread.findEventById(reply));
  const same = await until(carol, () => room(carol).getThread(one.getId()));
  await until(carol, () => same.findEventById(reply));
  await bob.sendReadReceipt(inThread);
  await sends(bob, roomId, "back in the room");
  await until(carol, () => same.getReadReceiptForUserId(bob.getUserId(), true)?.eventId === reply);
  assert.equal(same.getReadReceiptForUserId(bob.getUserId(), true).data.thread_id, one.getId());
  assert.equal(room(carol).getReadReceiptForUserId(bob.getUserId(), true).eventId, one.getId());
  chapter("a thread is read on its own");

  const [, his3] = await sends(alice, roomId, "three", alice, bob);
  await bob.sendReadReceipt(his3, ReceiptType.Read, true);
  await sends(bob, roomId, "that was all");
  await until(alice, () => room(alice).getLastUnthreadedReceiptFor(bob.getUserId()));
  assert.equal(room(alice).hasUserReadEvent(bob.getUserId(), his3.getId()), true);
  chapter("or all at once");

  await bob.setRoomReadMarkers(roomId, his2.getId(), his3);
  const fullyRead = (client) => room(client).getAccountData("m.fully_read")?.getContent().event_id;
  for (const client of [bob, phone]) await until(client, () => fullyRead(client) === two.getId());
  assert.equal(fullyRead(alice), undefined);
  const tablet = await another(bob);
  assert.equal(fullyRead(tablet), two.getId());
  assert.equal(room(tablet).hasUserReadEvent(bob.getUserId(), his3.getId()), true);
  chapter("every device knows where one left off");
}
