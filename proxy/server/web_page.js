/*
 * Asks for /status every few seconds and shows what it says.
 */

const PERIOD_MS = 3000;
const PERIOD_MOST_MS = 30000;	/* while there is no answer */
const ANSWER_MS = 15000;
const CERTIFICATE_DAYS = 14;

let latest = null, latest_ms = 0;	/* what it has said, and when */

/* ---- what is shown of the process ---- */

function show_process(status, now) {
	say(find("process"), `${status.version}, process ${status.pid}, up ` +
		`${span(status.uptime_seconds)}, ` +
		many(status.connections, "connection"));
	say(find("map"), `Map: ${status.map.file}, ` +
		`${many(status.map.devices, "device")}, in use since ` +
		`${moment.format(Date.parse(status.map.loaded))}; reloads: ` +
		`${status.map.reloads}, refused: ${status.map.reloads_refused}`);
}

function certificate_warning(name, time, now) {
	const left = -seconds_since(time, now);

	if (time === null || left >= CERTIFICATE_DAYS * 86400)
		return [];
	return [{bad: left < 2 * 86400, title: `${name} ` +
		(left < 0 ? "has ended" : `ends in ${span(left)}`) +
		` (${day.format(Date.parse(time))}).`,
		text: "Without a new one no device gets to the cloud."}];
}

function refusal_warning(map, now) {
	const refusal = map.refusal;
	const place = refusal.line > 0 ? `${refusal.file}:${refusal.line}`
				       : refusal.file;
	const more = refusal.errors - 1;

	return {bad: true, title: "The files have changed, but are not in use.",
		text: `${place}: ${refusal.text}` +
			(more > 0 ? ` (and ${many(more, "more error")})` : "") +
			`. For ${span(seconds_since(refusal.since, now))} ` +
			"the proxy has gone on with what it had; " +
			"mqtt-wss-proxy check tells all."};
}

function warnings_of(status, now) {
	const cloud = status.cloud || {};
	const found = [];

	if (status.unready)
		found.push({bad: true, title: "Devices are not let in:",
			text: `${status.unready}.`});
	if (status.map.refused)
		found.push(refusal_warning(status.map, now));
	if (status.devices === null)
		found.push({bad: true, title: "Devices cannot be listed:",
			text: "the machine is out of memory."});
	if (status.cloud)
		found.push(
			...certificate_warning("The cloud's certificate",
				cloud.certificate_expires, now),
			...certificate_warning("The root of the cloud's certificate",
				cloud.root_expires, now));
	return found;
}

function show_warnings(found) {
	const list = find("warnings");

	while (list.children.length > found.length)
		list.lastElementChild.remove();
	found.forEach((warning, i) => {
		if (i === list.children.length)
			list.append(make("li", {}, make("b"), " ", make("span")));
		const [title, text] = list.children[i].children;

		give(list.children[i], "className", warning.bad ? "bad" : "");
		say(title, warning.title);
		say(text, warning.text);
	});
}

/* ---- the way to the cloud ---- */

function listed(counts) {
	return Object.entries(counts).sort((a, b) => b[1] - a[1])
		.map(([reason, n]) => `${reason} ${number.format(n)}`)
		.join(", ");
}

/* [class, sentence, what to do] */
function cloud_state(status, now) {
	const cloud = status.cloud;
	const online = status.sessions.online;

	if (cloud.last_failed === null && cloud.last_accepted === null)
		return ["idle", "No device has dialled yet.", ""];
	if (cloud.is_failing)
		return [online > 0 ? "warn" : "bad",
			`The last dial failed ${ago(cloud.last_failed, now)}: ` +
			`${cloud.last_failed_why}` +
			(online > 0 ? "; others are online." : ""),
			status.hints[cloud.last_failed_why] || ""];
	if (status.sessions.held + status.sessions.dialling > online)
		return ["warn", "Most devices are without their link.", ""];
	return ["ok", "In order; the last dial was let in " +
		`${ago(cloud.last_accepted, now)}.`, ""];
}

function show_cloud(status, now) {
	const cloud = status.cloud;
	const [kind, sentence, hint] = cloud_state(status, now);
	const parts = [`Since the start ${many(cloud.dials_accepted, "dial")} ` +
		"let in"];

	if (Object.keys(cloud.dials_failed).length > 0)
		parts.push(`failed: ${listed(cloud.dials_failed)}`);
	if (Object.keys(cloud.links_lost).length > 0)
		parts.push(`links lost: ${listed(cloud.links_lost)}`);
	if (cloud.certificate_expires !== null)
		parts.push("certificate until " +
			day.format(Date.parse(cloud.certificate_expires)));
	give(find("cloud-word"), "className", `state ${kind}`);
	say(find("cloud-word"), sentence);
	say(find("cloud-hint"), hint);
	give(find("cloud-hint"), "hidden", hint === "");
	say(find("cloud-counts"), parts.join("; ") + ".");
}

/* ---- how many ---- */

function show_counts(status) {
	const counts = {...status.sessions, offline: status.offline || 0};
	const parts = [];

	for (const tile of find("tiles").children) {
		const state = tile.dataset.state;
		const n = counts[state] || 0;

		say(tile.firstElementChild, number.format(n));
		tile.classList.toggle("zero", n === 0);
		if (state === "leaving")
			give(tile, "hidden", n === 0);
		if (state !== "leaving" || n > 0)
			parts.push(`${n} ${WORDS[state]}`);
	}
	say(find("summary"), parts.join(", "));
	give(document, "title", (counts.held > 0 ? `${counts.held} held, ` : "") +
		`${counts.online} online: mqtt-wss-proxy`);
}

/* ---- all of it ---- */

function show(status) {
	const now = Date.parse(status.now);

	latest = status;
	latest_ms = Date.now();
	take_devices(status.devices || []);
	show_process(status, now);
	show_warnings(warnings_of(status, now));
	show_counts(status);
	show_cloud(status, now);
	show_knocks(status, now);
	show_devices();
	give(find("all"), "hidden", false);
}

function show_live(kind, text) {
	give(find("live"), "className", `live ${kind}`);
	say(find("live"), text);
}

/* ---- asking ---- */

const TOKEN = "mqtt-wss-proxy token";
let token = sessionStorage.getItem(TOKEN) || "";
let failures = 0;
let asking = null;		/* what ends the question that is under way */
let timer = 0, ticker = 0;

function ask_for_token(is_wrong) {
	find("login").hidden = false;
	find("all").hidden = true;
	say(find("login-wrong"), is_wrong
		? "The proxy does not take that token." : "");
	show_live("idle", "token wanted");
	find("token").focus();
}

function set_token(text) {
	token = text;
	if (text === "")
		sessionStorage.removeItem(TOKEN);
	else
		sessionStorage.setItem(TOKEN, text);
	find("forget").hidden = text === "";
}

/* Since when, and counting. */
function tell_silence() {
	const from = latest_ms !== 0 ? latest_ms : opened_ms;

	say(find("silent-since"), `Since ${clock.format(from)} (${
		span((Date.now() - from) / 1000)})${latest !== null
		? "; what stands below is from then" : ""}. It is asked again ` +
		"by itself.");
}

function be_silent(why) {
	say(find("silent-why"), why);
	give(find("silent"), "hidden", false);
	document.body.classList.add("stale");
	show_live("bad", "no answer");
	tell_silence();
	clearInterval(ticker);
	ticker = setInterval(tell_silence, 1000);
}

function be_well() {
	clearInterval(ticker);
	give(find("silent"), "hidden", true);
	document.body.classList.remove("stale");
	show_live("ok", `live, ${clock.format(Date.now())}`);
}

async function fetch_status(signal) {
	const answer = await fetch("status", {cache: "no-store", signal,
		credentials: "omit", redirect: "error",
		headers: token !== "" ? {Authorization: `Bearer ${token}`} : {}});

	if (answer.ok)
		return {status: await answer.json()};
	return {code: answer.status, text: (await answer.text()).trim()};
}

/* What to do with an answer; false: not to ask again. */
function take_answer({status, code, text}) {
	if (status !== undefined) {
		failures = 0;
		find("login").hidden = true;
		show(status);
		be_well();
		return true;
	}
	if (code === 401) {
		give(find("silent"), "hidden", true);
		ask_for_token(token !== "");
		set_token("");
		return false;
	}
	failures++;
	be_silent(`The proxy does not tell: ${text || code}`);
	return true;
}

/* The answer; undefined: there is none. */
async function ask_once(mine) {
	const deadline = setTimeout(() => mine.abort(), ANSWER_MS);

	try {
		return await fetch_status(mine.signal);
	} catch {
		return undefined;
	} finally {
		clearTimeout(deadline);
	}
}

async function ask() {
	const began = performance.now();
	const mine = new AbortController();
	let again = true;

	clearTimeout(timer);
	asking?.abort();
	asking = mine;
	const answer = await ask_once(mine);
	if (asking !== mine)
		return;		/* another question has begun */
	asking = null;
	if (answer !== undefined) {
		again = take_answer(answer);
	} else {
		failures++;
		be_silent("The proxy does not answer.");
	}
	/* one that takes long is asked less often */
	if (again && !document.hidden)
		timer = setTimeout(ask, failures > 0
			? Math.min(PERIOD_MS * 2 ** (failures - 1),
				PERIOD_MOST_MS)
			: Math.max(PERIOD_MS, 10 * (performance.now() - began)));
}

/* ---- what a person does ---- */

function choose() {
	limit = ROWS;
	if (latest !== null)
		show_devices();
}

find("search").addEventListener("input", choose);
find("state").addEventListener("change", choose);
find("sort").addEventListener("change", (event) => {
	order = event.target.value;
	is_descending = false;
	choose();
});
for (const head of document.querySelectorAll("th[data-sort]"))
	head.firstElementChild.addEventListener("click", () => {
		is_descending = order === head.dataset.sort && !is_descending;
		order = head.dataset.sort;
		choose();
	});
for (const tile of find("tiles").children)
	tile.addEventListener("click", () => {
		const state = find("state");

		state.value = state.value === tile.dataset.state
			? "" : tile.dataset.state;
		choose();
	});
find("more").addEventListener("click", () => {
	limit += 500;
	show_devices();
});
find("knocks-more").addEventListener("click", () => {
	all_knocks = !all_knocks;
	show_knocks(latest, Date.parse(latest.now));
});
find("login").addEventListener("submit", (event) => {
	const text = find("token").value.trim();

	event.preventDefault();
	find("token").value = "";
	if (!/^[\x21-\x7e]+$/.test(text)) {
		ask_for_token(true);
		return;
	}
	set_token(text);
	ask();
});
find("forget").addEventListener("click", () => {
	set_token("");
	location.reload();	/* and all that is shown */
});
/* nobody looks: nobody asks */
document.addEventListener("visibilitychange", () => {
	clearTimeout(timer);
	if (!document.hidden && find("login").hidden)
		ask();
});

const opened_ms = Date.now();
find("forget").hidden = token === "";
ask();
