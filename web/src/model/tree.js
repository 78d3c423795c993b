// SPDX-License-Identifier: Apache-2.0
//
// The tree that a flame graph draws: stacks merged by their common beginnings.
//
// Nodes are numbers into parallel arrays, node 0 is the root, and a parent's number is smaller than
// its children's: whatever has to be summed or inherited is one loop, backwards or forwards, without
// recursion. Ten thousand stacks make some hundred thousand nodes, so nothing here allocates per
// node but the arrays themselves.
//
// When two profiles are compared, a stack is as wide as the larger of its two values: what vanished
// keeps its place, so that red and blue are both visible.
//
// `hash` names a node in a URL. It depends on the functions' names on the way to it and on nothing
// else, so it survives a new profile and another order of the tables.

const START_HASH = 0x811c9dc5;
const SUMS = ['value', 'base', 'variance', 'samples', 'objects', 'bytes'];

export function hashText(text) {
  let hash = START_HASH;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const hashPair = (a, b) => Math.imul(a ^ (b + 0x9e3779b9 + (a << 6) + (a >>> 2)), 0x85ebca6b) >>> 0;

// The ways a stack (leaf first) becomes a path from the root.
export const PATHS = {
  down: (stack) => Array.from(stack).reverse(),
  up: (stack) => stack,
};

// Who calls `fn`, and whom it calls, at its outermost place in the stack; null where it is not in it.
// The function itself is then the root.
export function callersOf(fn) {
  return (stack) => {
    const at = stack.lastIndexOf(fn);
    return at < 0 ? null : stack.subarray(at + 1);
  };
}

export function calleesOf(fn) {
  return (stack) => {
    const at = stack.lastIndexOf(fn);
    return at < 0 ? null : Array.from(stack.subarray(0, at)).reverse();
  };
}

function emptyTree(rootFn) {
  return {
    fn: [rootFn],
    parent: [-1],
    depth: [0],
    first: [-1],
    next: [-1],
    value: [0],
    base: [0],
    variance: [0],
    samples: [0],
    objects: [0],
    bytes: [0],
    width: null,
    hash: null,
    length: 1,
    stacks: 0,
  };
}

function addNode(tree, parent, fn) {
  const node = tree.length++;
  tree.fn.push(fn);
  tree.parent.push(parent);
  tree.depth.push(tree.depth[parent] + 1);
  tree.first.push(-1);
  tree.next.push(tree.first[parent]);
  tree.first[parent] = node;
  for (const key of SUMS) tree[key].push(0);
  return node;
}

function insert(tree, known, path, functions) {
  let node = 0;
  for (const fn of path) {
    const key = node * functions + fn;
    let child = known.get(key);
    if (child === undefined) {
      child = addNode(tree, node, fn);
      known.set(key, child);
    }
    node = child;
  }
  return node;
}

// Up to here a node holds what ended in it; afterwards, what passed through it.
function sumUp(tree) {
  const width = new Float64Array(tree.length);
  for (let node = 0; node < tree.length; node++) {
    width[node] = Math.max(tree.value[node], tree.base[node], 0);
  }
  tree.self = Float64Array.from(tree.value);
  tree.selfBase = Float64Array.from(tree.base);
  for (let node = tree.length - 1; node > 0; node--) {
    const parent = tree.parent[node];
    width[parent] += width[node];
    for (const key of SUMS) tree[key][parent] += tree[key][node];
  }
  tree.width = width;
}

function nameNodes(tree, names) {
  const hashes = names.map(hashText);
  tree.hash = new Uint32Array(tree.length);
  tree.hash[0] = START_HASH;
  for (let node = 1; node < tree.length; node++) {
    tree.hash[node] = hashPair(tree.hash[tree.parent[node]], hashes[tree.fn[node]]);
  }
}

// `stacks` counts what went in. The root is all stacks, or the function that all of them pass through.
export function buildTree(heap, pathOf, rootFn = -1) {
  const tree = emptyTree(rootFn);
  const known = new Map();
  const functions = heap.table.names.length;
  for (let row = 0; row < heap.stacks.length; row++) {
    if (heap.value[row] === 0 && heap.base[row] === 0) continue;
    const path = pathOf(heap.stacks[row]);
    if (path === null) continue;
    const node = insert(tree, known, path, functions);
    tree.stacks++;
    for (const key of SUMS) tree[key][node] += heap[key][row];
  }
  sumUp(tree);
  nameNodes(tree, heap.table.names);
  return tree;
}

export function nameOf(tree, table, node) {
  return tree.fn[node] < 0 ? 'all' : table.names[tree.fn[node]];
}

export function findByHash(tree, text) {
  if (!text) return 0;
  const wanted = parseInt(text, 36);
  const node = tree.hash.indexOf(wanted);
  return node < 0 ? 0 : node;
}

export const hashOf = (tree, node) => (node === 0 ? '' : tree.hash[node].toString(36));

// Children that are drawn, widest first.
export function childrenOf(tree, node, narrowest = 0) {
  const children = [];
  for (let child = tree.first[node]; child >= 0; child = tree.next[child]) {
    if (tree.width[child] > narrowest) children.push(child);
  }
  return children.sort((a, b) => tree.width[b] - tree.width[a] || a - b);
}

// From the root's child down to the node.
export function pathTo(tree, node) {
  const path = [];
  for (let at = node; at > 0; at = tree.parent[at]) path.push(at);
  return path.reverse();
}

// Which nodes a search marks, and the share of the whole that passes through one of them.
export function searchTree(tree, matches) {
  const marked = new Uint8Array(tree.length);
  const below = new Uint8Array(tree.length);
  let width = 0;
  for (let node = 1; node < tree.length; node++) {
    const parent = tree.parent[node];
    marked[node] = matches[tree.fn[node]];
    below[node] = below[parent] | marked[node];
    if (marked[node] && !below[parent]) width += tree.width[node];
  }
  return { marked, share: tree.width[0] > 0 ? width / tree.width[0] : 0 };
}
