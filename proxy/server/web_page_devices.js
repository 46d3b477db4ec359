/*
 * The table of devices. Rows stay the ones they are, as long as their device is
 * there; only what is shown is worked on.
 */

const ROWS = 200;		/* shown at once, before "more" */

const rows = new Map();		/* by identity */
let labels = new Set();
let only_product = "";		/* the one of all devices, if there is just one */
let limit = ROWS;
let order = "state", is_descending = false;

/* What needs a look comes first. */
const RANK = {held: 0, dialling: 1, leaving: 2, offline: 3, online: 4};
const rank = (d) => d.state === "offline" && d.reason === "none"
	? 5 : RANK[d.state];
const age = (d) => d.seconds ?? Infinity;

const ORDERS = {
	label: (a, b) => 0,
	state: (a, b) => rank(a) - rank(b),
	since: (a, b) => age(a) === age(b) ? 0 : age(a) - age(b),
	reason: (a, b) => (a.reason === "none") - (b.reason === "none") ||
		collator.compare(a.reason, b.reason),
	peer: (a, b) => (a.peer === "") - (b.peer === "") ||
		collator.compare(a.peer, b.peer),
	host: (a, b) => (a.host === "") - (b.host === "") ||
		collator.compare(a.host, b.host),
};

function take_devices(devices) {
	const now_there = new Set();
	const products = new Set();

	labels = new Set();
	for (const device of devices) {
		const key = `${device.product_key}/${device.device_name}`;
		const row = rows.get(key) || {tr: null};

		now_there.add(key);
		products.add(device.product_key);
		labels.add(device.label);
		row.device = device;
		row.text = null;
		rows.set(key, row);
	}
	for (const key of rows.keys())
		if (!now_there.has(key))
			rows.delete(key);
	only_product = products.size === 1 ? [...products][0] : "";
}

/* What is searched through; made when it is needed. */
function text_of(row) {
	const d = row.device;

	if (row.text === null)
		row.text = [d.label, d.product_key, d.device_name,
			WORDS[d.state], d.reason, d.detail, d.peer, d.host]
			.join("\n").toLowerCase();
	return row.text;
}

function chosen_rows() {
	const words = find("search").value.toLowerCase().split(/\s+/)
		.filter(Boolean);
	const state = find("state").value;
	const sign = is_descending ? -1 : 1;
	const compare = ORDERS[order];

	return [...rows.values()].filter((row) =>
		(state === "" || row.device.state === state) &&
		words.every((word) => text_of(row).includes(word)))
		.sort((a, b) => sign * (compare(a.device, b.device) ||
			collator.compare(a.device.label, b.device.label)));
}

/* Head and second line of each cell. */
function cells_of(d, hints) {
	const traffic = d.state === "online"
		? [`\u2191 ${number.format(d.up_packets)}  \u2193 ${
			number.format(d.down_packets)}`, "packets"] : null;
	const waits = d.state === "dialling"
		? [`in ${d.link}`, "the cloud has not let it in yet"] : null;
	const why = d.reason === "none"
		? [d.state === "offline" ? "has not been here" : "", ""]
		: [d.reason, hints[d.reason] || ""];

	return {
		label: [d.label, `${d.product_key} ${d.device_name}`],
		"state-cell": [WORDS[d.state], ""],
		since: [d.since === null ? "" : span(d.seconds), ""],
		reason: traffic || waits || why,
		peer: [d.peer, d.level === undefined ? ""
			: `MQTT ${{3: "3.1", 4: "3.1.1", 5: "5.0"}[d.level] ||
				d.level}`],
		host: [d.host, d.transport === undefined ? ""
			: `${d.transport}, port ${d.port}`],
	};
}

const NAMES = {label: "Device", "state-cell": "State", since: "Since",
	reason: "Reason", peer: "Address", host: "Cloud"};

function make_row() {
	const tr = make("tr");

	tr.setAttribute("role", "row");
	for (const [name, word] of Object.entries(NAMES)) {
		const cell = make("td", {className: name, data: {label: word}},
			make("span"), make("small"));

		cell.setAttribute("role", "cell");
		tr.append(cell);
	}
	return tr;
}

function fill_row(row, hints) {
	const d = row.device;

	row.tr ??= make_row();
	Object.entries(cells_of(d, hints)).forEach(([name, texts], i) => {
		const cell = row.tr.children[i];
		const [head, more] = cell.children;

		say(head, texts[0]);
		say(more, texts[1]);
		give(more, "hidden", texts[1] === "");
		cell.classList.toggle("empty", texts[0] === "");
		if (name === "state-cell")
			give(head, "className", `state ${d.state}`);
	});
	give(row.tr.children[2], "title", d.since === null ? ""
		: moment.format(Date.parse(d.since)));
	give(row.tr.children[3], "title", d.detail);
	return row.tr;
}

function show_heads() {
	for (const head of document.querySelectorAll("th[data-sort]")) {
		if (head.dataset.sort === order)
			head.setAttribute("aria-sort",
				is_descending ? "descending" : "ascending");
		else
			head.removeAttribute("aria-sort");
	}
	give(find("sort"), "value", order);
	for (const tile of find("tiles").children)
		tile.setAttribute("aria-pressed",
			tile.dataset.state === find("state").value);
}

function show_devices() {
	const chosen = chosen_rows();
	const shown = chosen.slice(0, limit);
	const not_listed = (latest.offline || 0) - [...rows.values()].filter(
		(row) => row.device.state === "offline").length;

	arrange(find("rows"), shown.map((row) => fill_row(row, latest.hints)));
	say(find("shown"), (chosen.length === rows.size
		? number.format(rows.size)
		: `${number.format(chosen.length)} of ${
			number.format(rows.size)}`) + (not_listed > 0
		? `; ${number.format(not_listed)} more are offline, not listed`
		: ""));
	give(find("none"), "hidden", chosen.length > 0 || rows.size === 0);
	say(find("none"), "No device is like that." + (not_listed > 0
		? " Of those that are offline not all are listed: " +
		  "mqtt-wss-proxy status LABEL tells of each." : ""));
	give(find("more"), "hidden", chosen.length <= limit);
	say(find("more"), `Show more (${
		number.format(chosen.length - shown.length)} are not shown)`);
	show_heads();
}
