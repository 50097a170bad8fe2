// Writes the element table of FHIR R4 (4.0.1) to standard output.
//
//   npm pack hl7.fhir.r4.examples@4.0.1 && tar xzf hl7.fhir.r4.examples-4.0.1.tgz
//   node crates/fhir/table/generate.mjs package > crates/fhir/src/table.txt
//
// The definitions are published by HL7 under CC0-1.0. README.md beside this file describes the output.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
const folder = process.argv[2];
if (!folder) {
  process.stderr.write("usage: node generate.mjs <unpacked hl7.fhir.r4.examples>\n");
  process.exit(2);
}

const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const files = readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
const version = read("package.json").version;

/** Every code system and value set of the package by its URL, bundled or not. */
const terminology = new Map();
for (const name of files) {
  if (!/^(CodeSystem|ValueSet)-|^Bundle-.*valuesets/.test(name)) continue;
  const file = read(name);
  for (const item of file.resourceType === "Bundle" ? file.entry.map((e) => e.resource) : [file]) {
    if (item.url && !terminology.has(item.url)) terminology.set(item.url, item);
  }
}

/** All codes of a value set, or null if they cannot be listed from this package alone. */
function codesOf(url) {
  const set = terminology.get(url);
  if (!set?.compose || set.compose.exclude) return null;
  const codes = new Set();
  const collect = (concepts) => {
    for (const concept of concepts ?? []) {
      codes.add(concept.code);
      collect(concept.concept);
    }
  };
  for (const include of set.compose.include) {
    if (include.filter || include.valueSet) return null;
    if (include.concept) {
      collect(include.concept);
      continue;
    }
    const system = terminology.get(include.system);
    if (system?.content !== "complete" || !system.concept) return null;
    collect(system.concept);
  }
  return [...codes].sort();
}

const usedSets = new Map();

/** Short name of the required value set of a `code` element, if its codes can be listed. */
function bindingOf(element, types) {
  const binding = element.binding;
  if (types !== "code" || binding?.strength !== "required" || !binding.valueSet) return null;
  const url = binding.valueSet.split("|")[0];
  const codes = codesOf(url);
  if (!codes) return null;
  const name = url.split("/").pop();
  usedSets.set(name, codes);
  return name;
}

function typeOf(type) {
  const extension = type.extension?.find((e) => e.url === FHIR_TYPE);
  if (extension) return extension.valueUrl ?? extension.valueUri;
  return type.code.startsWith("http://hl7.org/fhirpath/") ? "string" : type.code;
}

/** One line an element: name, cardinality (`!` if it changes the meaning of what it stands in), types, value set. */
function lineOf(element, parents) {
  const name = element.path.split(".").pop();
  let types;
  if (element.contentReference) types = element.contentReference.replace(/^.*#/, "");
  else if (parents.has(element.path)) types = element.path;
  // The definition says string; the specification's text and its validator say id.
  else if (element.path === "Resource.id") types = "id";
  else types = [...new Set(element.type.map(typeOf))].join("|");
  const binding = bindingOf(element, types);
  const modifier = element.isModifier ? "!" : "";
  return ` ${name} ${element.min}..${element.max}${modifier} ${types}${binding ? ` ${binding}` : ""}`;
}

function structuresOf(definition) {
  const elements = definition.snapshot.element;
  const parents = new Set(elements.map((e) => e.path.split(".").slice(0, -1).join(".")));
  const blocks = new Map();
  for (const element of elements) {
    const parent = element.path.split(".").slice(0, -1).join(".");
    if (parent === "") {
      const base = definition.baseDefinition?.split("/").pop() ?? "-";
      const kind = definition.kind === "resource" && !definition.abstract ? "resource" : "type";
      blocks.set(element.path, [`${kind} ${element.path} ${base}`]);
      continue;
    }
    // What a structure inherits stands once, with the structure that defines it.
    const origin = element.base.path.split(".")[0];
    if (origin !== definition.type) continue;
    if (parents.has(element.path)) {
      blocks.set(element.path, [`type ${element.path} ${element.type[0].code}`]);
    }
    blocks.get(parent).push(lineOf(element, parents));
  }
  return [...blocks.values()].map((lines) => lines.join("\n"));
}

const definitions = files
  .filter((name) => name.startsWith("StructureDefinition-"))
  .map(read)
  .filter((d) => ["resource", "complex-type"].includes(d.kind))
  .filter((d) => d.derivation !== "constraint" && d.name === d.type && d.fhirVersion === version);

const blocks = definitions.flatMap(structuresOf);
const sets = [...usedSets].sort().map(([name, codes]) => `codes ${name} ${codes.join(" ")}`);
process.stdout.write(
  [
    `# Elements of FHIR R4, generated by table/generate.mjs from hl7.fhir.r4.examples ${version} (HL7, CC0-1.0).`,
    ...blocks,
    ...sets,
    "",
  ].join("\n"),
);
