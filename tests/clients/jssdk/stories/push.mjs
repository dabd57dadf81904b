// What rings: push rules and the devices that are pushed to.

import assert from "node:assert/strict";
import { ConditionKind, PushRuleActionName, PushRuleKind, TweakName } from "matrix-js-sdk";
import { meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob, carol] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Carol")]);
  const roomId = await meet([alice, bob, carol]);
  const phone = await another(bob);
  const heard = async (content) => {
    const [event] = await sends(alice, roomId, content, phone);
    const { notify, tweaks } = phone.getPushActionsForEvent(event);
    return { notify: !!notify, highlight: !!tweaks?.highlight };
  };

  assert.deepEqual(await heard("it rains"), { notify: true, highlight: false });
  assert.deepEqual(await heard({ msgtype: "m.text", body: "you too", "m.mentions": { user_ids: [bob.getUserId()] } }), { notify: true, highlight: true });
  assert.deepEqual(await heard({ msgtype: "m.notice", body: "beep" }), { notify: false, highlight: false });
  assert.equal(phone.pushProcessor.getPushRuleById(".m.rule.suppress_notices").enabled, true);
  chapter("a message rings, a mention louder, a bot not at all");

  await bob.setRoomMutePushRule("global", roomId, true);
  assert.equal(bob.getRoomPushRule("global", roomId).enabled, true);
  await until(phone, () => phone.getRoomPushRule("global", roomId));
  assert.deepEqual(await heard("quietly"), { notify: false, highlight: false });
  await bob.setRoomMutePushRule("global", roomId, false);
  await until(phone, () => !phone.getRoomPushRule("global", roomId));
  assert.deepEqual(await heard("aloud"), { notify: true, highlight: false });
  chapter("a muted room does not ring on any device");

  const ring = [PushRuleActionName.Notify, { set_tweak: TweakName.Highlight }];
  await bob.addPushRule("global", PushRuleKind.ContentSpecific, "umbrella", { pattern: "umbrel*", actions: ring });
  await bob.addPushRule("global", PushRuleKind.Override, "shout", {
    conditions: [{ kind: ConditionKind.EventMatch, key: "content.shout", pattern: "*" }, { kind: ConditionKind.RoomMemberCount, is: "3" }],
    actions: ring,
  });
  await until(phone, () => phone.pushProcessor.getPushRuleById("shout") && phone.pushProcessor.getPushRuleById("umbrella"));
  assert.deepEqual(await heard("take an umbrella"), { notify: true, highlight: true });
  assert.deepEqual(await heard({ msgtype: "m.notice", body: "now", shout: "yes" }), { notify: true, highlight: true });
  await bob.setPushRuleEnabled("global", PushRuleKind.Override, "shout", false);
  await bob.setPushRuleActions("global", PushRuleKind.ContentSpecific, "umbrella", [{ set_tweak: TweakName.Highlight, value: false }]);
  await until(phone, () => phone.pushProcessor.getPushRuleById("shout").enabled === false);
  await until(phone, () => phone.pushProcessor.getPushRuleById("umbrella").actions.length === 1);
  assert.deepEqual(await heard({ msgtype: "m.notice", body: "now", shout: "yes" }), { notify: false, highlight: false });
  assert.deepEqual(await heard("take an umbrella"), { notify: false, highlight: false });
  await bob.deletePushRule("global", PushRuleKind.ContentSpecific, "umbrella");
  await until(phone, () => !phone.pushProcessor.getPushRuleById("umbrella"));
  await assert.rejects(bob.deletePushRule("global", PushRuleKind.ContentSpecific, "umbrella"), { errcode: "M_NOT_FOUND" });
  chapter("rules of one's own are added, changed and removed");

  const pusher = {
    app_display_name: "Gutter",
    app_id: "org.example.gutter",
    data: { url: "https://push.example.org/_matrix/push/v1/notify", format: "event_id_only" },
    device_display_name: "phone",
    kind: "http",
    lang: "en",
    profile_tag: "",
    pushkey: "abcdef",
  };
  await phone.setPusher({ ...pusher, append: false });
  const [kept, ...more] = (await bob.getPushers()).pushers;
  assert.deepEqual(more, []);
  for (const key of Object.keys(pusher)) assert.deepEqual(kept[key] ?? "", pusher[key], key);
  await phone.removePusher(pusher.pushkey, pusher.app_id);
  assert.deepEqual((await bob.getPushers()).pushers, []);
  chapter("a phone asks to be pushed to, and no longer");
}
