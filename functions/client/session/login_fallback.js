(() => {
  const at = id => document.getElementById(id);
  const say = text => { at('problem').textContent = text; };

  at('login').addEventListener('submit', async event => {
    event.preventDefault();
    say('');
    const app = window.matrixLogin;
    if (!app || typeof app.onLogin !== 'function') {
      say('No app waits for this login. Open this page from the app that you want to log in.');
      return;
    }
    const request = {
      type: 'm.login.password',
      identifier: {type: 'm.id.user', user: at('user').value},
      password: at('password').value,
    };
    // What an app may decide about the session, and nothing that logs somebody in.
    const query = new URLSearchParams(window.location.search);
    for (const key of ['device_id', 'initial_device_display_name']) {
      if (query.has(key)) request[key] = query.get(key);
    }
    if (query.get('refresh_token') === 'true') request.refresh_token = true;

    at('button').disabled = true;
    try {
      const response = await fetch('/_matrix/client/v3/login', {
        method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify(request),
      });
      const answer = await response.json();
      if (!response.ok) {
        say(answer.error);
        return;
      }
      at('login').hidden = true;
      at('done').hidden = false;
      app.onLogin(answer);
    } catch {
      say('The server does not answer. Try again.');
    } finally {
      at('button').disabled = false;
    }
  });
})();
