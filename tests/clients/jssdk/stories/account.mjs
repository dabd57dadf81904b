// An account and its devices.

import assert from "node:assert/strict";
import { createClient } from "matrix-js-sdk";
import { login, password, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const alice = await arrive("Alice");
  const phone = await another(alice);
  const user = alice.getUserId();
  const devices = async () => (await alice.getDevices()).devices.map((device) => device.device_id).sort();
  const words = (session, word = password) => ({ type: "m.login.password", identifier: { type: "m.id.user", user }, password: word, session });
  // confirmed does what the server wants to be sure of.
  const confirmed = (act, word) =>
    act().then(
      () => assert.fail("the server did not ask for the password"),
      (err) => {
        assert.equal(err.httpStatus, 401);
        assert.ok(err.data.flows.some((flow) => flow.stages.join() === "m.login.password"));
        return act(words(err.data.session, word));
      },
    );
  const ended = (client) => assert.rejects(client.whoami(), { errcode: "M_UNKNOWN_TOKEN" });

  assert.deepEqual(await devices(), [alice.getDeviceId(), phone.getDeviceId()].sort());
  await alice.setDeviceDetails(phone.getDeviceId(), { display_name: "in the pocket" });
  const seen = await phone.getDevice(phone.getDeviceId());
  assert.equal(seen.display_name, "in the pocket");
  assert.ok(seen.last_seen_ts > Date.now() - 600_000);
  await assert.rejects(alice.getDevice("NOSUCH"), { errcode: "M_NOT_FOUND" });
  chapter("devices have names");

  await assert.rejects(confirmed((auth) => alice.deleteDevice(phone.getDeviceId(), auth), "guess"), { httpStatus: 401 });
  await phone.whoami();
  await confirmed((auth) => alice.deleteDevice(phone.getDeviceId(), auth));
  await ended(phone);
  assert.deepEqual(await devices(), [alice.getDeviceId()]);
  chapter("a lost device is shut out, with the password");

  const [laptop, tablet] = [await another(alice), await another(alice)];
  await confirmed((auth) => alice.deleteMultipleDevices([laptop.getDeviceId(), tablet.getDeviceId()], auth));
  for (const client of [laptop, tablet]) await ended(client);
  assert.deepEqual(await devices(), [alice.getDeviceId()]);
  chapter("and several at once");

  const old = await another(alice);
  await confirmed((auth) => alice.setPassword(auth ?? null, "a new umbrella", true));
  await ended(old);
  await alice.whoami();
  await assert.rejects(login(alice), { errcode: "M_FORBIDDEN" });
  chapter("a new password ends the other sessions");

  const again = createClient({ baseUrl: alice.baseUrl });
  const session = await again.loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user }, password: "a new umbrella" });
  const fresh = createClient({ baseUrl: alice.baseUrl, accessToken: session.access_token, userId: user });
  const token = await fresh.getOpenIdToken();
  assert.equal(token.matrix_server_name, "localhost");
  assert.equal(token.token_type, "Bearer");
  const who = await fetch(`${alice.baseUrl}/_matrix/federation/v1/openid/userinfo?access_token=${encodeURIComponent(token.access_token)}`);
  assert.deepEqual(await who.json(), { sub: user });
  chapter("an OpenID token tells others who one is");

  const turn = await fresh.turnServer();
  assert.deepEqual(turn.uris ?? [], []);
  assert.ok((await fresh.getCapabilities())["m.change_password"].enabled);
  assert.ok(await fresh.isVersionSupported("v1.11"));
  chapter("the server says what it can do");

  await fresh.http.authedRequest("POST", "/logout/all");
  for (const client of [alice, fresh]) await ended(client);
  chapter("all sessions end at once");
}
