/*
 * Who was not let in, and the lines of devices.ini that would let them in.
 */

const KNOCKS = 5;		/* shown before "all" */
const LABEL_MOST = 40;		/* of a label in devices.ini */

const ADMISSIBLE = new Set(["unknown_device", "no_map"]);
const INVISIBLE = /[\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

/* A label that devices.ini takes, and that no device has yet. */
function label_for(knock) {
	const base = (knock.match_client_id || knock.match_username || "device")
		.replace(/[^A-Za-z0-9._:@-]+/g, "-").replace(/^-+|-+$/g, "")
		.slice(0, LABEL_MOST - 4) || "device";
	let label = base;

	for (let n = 2; labels.has(label) && n < 1000; n++)
		label = `${base}-${n}`;
	return label;
}

/* What firmware that was made for the platform itself sends: such a device is
   found by it, without a match_ key. */
function native_names(knock) {
	const found = /^([\w.@:-]{4,32})&([A-Za-z0-9]{1,20})$/
		.exec(knock.match_username || "");

	return found !== null && (knock.match_client_id || "").includes("|")
		? {device_name: found[1], product_key: found[2]} : null;
}

/* [key and value by which the entry is found, what to know about it] */
function match_for(knock) {
	if (native_names(knock) !== null)
		return ["", "It sends a login of the platform's own kind, and is " +
			"found by the names in it."];
	if (knock.match_client_id !== null)
		return [`match_client_id = ${knock.match_client_id}`, ""];
	const lack = knock.client_id === "" ? "It has sent no client id"
		: "Its client id cannot stand in devices.ini (too long, or with " +
		  "characters that the file cannot hold)";

	if (knock.match_username !== null)
		return [`match_username = ${knock.match_username}`,
			`${lack}: it is found by its user name.`];
	return [`match_address = ${knock.address}`,
		`${lack}, nor a user name that could: it is found by its ` +
		"address, which has to stay its own."];
}

function lines_for(knock) {
	const names = native_names(knock) || {};
	const [match] = match_for(knock);

	return [`[device:${label_for(knock)}]`,
		`product_key = ${names.product_key || only_product ||
			"<ProductKey>"}`,
		`device_name = ${names.device_name || "<DeviceName>"}`,
		"device_secret = <DeviceSecret>",
		...(match !== "" ? [match] : []), ""].join("\n");
}

function note_for(knock) {
	const [match, note] = match_for(knock);

	return [note, INVISIBLE.test(match)
		? "It holds characters that cannot be seen: copy it." : "",
		"Fill in what is in <>, from the cloud's console (Devices, " +
		"DeviceSecret, View); until then the file is refused as a whole " +
		"and nothing changes. A product that is new in the map needs its " +
		"region or instance too."].filter(Boolean).join(" ");
}

/* Without a secure context there is no clipboard: then the lines are marked. */
async function copy(text, from, button) {
	let done = "Copied";

	try {
		await navigator.clipboard.writeText(text);
	} catch {
		getSelection().selectAllChildren(from);
		done = "Marked: press Ctrl+C";
	}
	say(button, done);
	setTimeout(() => say(button, "Copy"), 2000);
}

function make_admission() {
	const pre = make("pre", {tabIndex: 0});
	const button = make("button", {type: "button", textContent: "Copy"});
	const note = make("p", {className: "muted"});

	button.setAttribute("aria-live", "polite");
	button.addEventListener(
		"click", () => copy(pre.textContent, pre, button));
	pre.setAttribute("aria-label", "Lines for devices.ini");
	return {pre, note, details: make("details", {},
		make("summary", {textContent: "Lines that let it in"}),
		note, pre, button)};
}

function make_knock() {
	const part = (name) => make("span", {className: name});
	const parts = {who: part("who mono"), user: part("mono"),
		address: part("mono"), when: part("when muted"), why: part("muted"),
		...make_admission()};

	parts.item = make("li", {}, make("div", {className: "knock"},
		parts.who, parts.user, parts.address, parts.when),
		parts.why, parts.details);
	return parts;
}

const knocks = new Map();	/* what is in the list */
let all_knocks = false;

function fill_knock(parts, knock, status, now) {
	const hint = status.hints[knock.why];

	say(parts.who, knock.client_id === "" ? "(no client id)"
					      : knock.client_id);
	say(parts.user, knock.username === "" ? "" : `user ${knock.username}`);
	say(parts.address, `from ${knock.address}`);
	say(parts.when, `${knock.times === 1 ? "once" : `${
		number.format(knock.times)} times`}, last ${
		ago(knock.last, now)}`);
	give(parts.when, "title", moment.format(Date.parse(knock.last)));
	say(parts.why, `${knock.why}${hint ? `: ${hint}` : ""}` +
		(knock.entry !== "" ? ` (entry ${knock.entry})` : ""));
	give(parts.details, "hidden", !ADMISSIBLE.has(knock.why));
	if (!parts.details.hidden) {
		say(parts.pre, lines_for(knock));
		say(parts.note, note_for(knock));
	}
}

function show_knocks(status, now) {
	const all = [...(status.turned_away || [])].sort(
		(a, b) => Date.parse(b.last) - Date.parse(a.last) ||
			collator.compare(a.client_id, b.client_id));
	const some = all_knocks ? all : all.slice(0, KNOCKS);
	const keys = new Set();
	const items = some.map((knock) => {
		/* client ids that were cut may look the same */
		const key = [knock.client_id, knock.address, knock.why,
			knock.first].join("\n");

		keys.add(key);
		if (!knocks.has(key))
			knocks.set(key, make_knock());
		fill_knock(knocks.get(key), knock, status, now);
		return knocks.get(key).item;
	});

	for (const key of knocks.keys())
		if (!keys.has(key))
			knocks.delete(key);
	arrange(find("knock-list"), items);
	give(find("knocks"), "hidden", all.length === 0);
	give(find("knocks-more"), "hidden", all.length <= KNOCKS);
	say(find("knocks-more"), all_knocks ? "Show fewer"
		: `Show all ${number.format(all.length)}`);
}
