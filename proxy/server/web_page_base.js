"use strict";

/*
 * Nodes, numbers and times. The scripts of the page stand behind each other in
 * one element, this one first. Whatever they show may have been written by a
 * device: it becomes the text of a node, and never markup.
 */

const WORDS = {
	online: "online", dialling: "waiting", held: "held",
	leaving: "leaving", offline: "offline",
};

const find = (id) => document.getElementById(id);

/* A new element; <properties> are those of the node, but for "data". */
function make(name, properties = {}, ...children) {
	const node = document.createElement(name);

	for (const [key, value] of Object.entries(properties.data || {}))
		node.dataset[key] = value;
	delete properties.data;
	Object.assign(node, properties);
	node.append(...children);
	return node;
}

/* Writes only what is new: a browser works for every change. */
function say(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function give(node, property, value) {
	if (node[property] !== value)
		node[property] = value;
}

/* Puts <nodes> into <parent>, in this order and nothing else, and moves as few
   as it can. */
function arrange(parent, nodes) {
	let at = parent.firstElementChild;

	for (const node of nodes) {
		if (node === at)
			at = at.nextElementSibling;
		else if (at !== null && node === at.nextElementSibling) {
			/* the one between has gone, or comes later */
			at.remove();
			at = node.nextElementSibling;
		} else
			parent.insertBefore(node, at);
	}
	while (at !== null) {
		const next = at.nextElementSibling;

		at.remove();
		at = next;
	}
}

/* ---- numbers and times ---- */

const number = new Intl.NumberFormat();
const moment = new Intl.DateTimeFormat(
	undefined, {dateStyle: "medium", timeStyle: "medium"});
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});
const day = new Intl.DateTimeFormat(undefined, {dateStyle: "medium"});
const collator = new Intl.Collator(undefined, {numeric: true});

const many = (n, word) => `${number.format(n)} ${word}${n === 1 ? "" : "s"}`;

function span(seconds) {
	const s = Math.max(0, Math.floor(seconds));
	const two = (big, unit, small, unit2) => `${big} ${unit}` +
		(small > 0 ? ` ${small} ${unit2}` : "");

	if (s < 60)
		return `${s} s`;
	if (s < 3600)
		return `${Math.floor(s / 60)} min`;
	if (s < 86400)
		return two(Math.floor(s / 3600), "h",
			Math.floor(s % 3600 / 60), "min");
	return two(Math.floor(s / 86400), "d",
		Math.floor(s % 86400 / 3600), "h");
}

const seconds_since = (time, now) => (now - Date.parse(time)) / 1000;
const ago = (time, now) => `${span(seconds_since(time, now))} ago`;
