/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph that changes: nodes with lists of edges, one malloc each; edges come and go, and searches
 * walk them with a queue of malloc'ed cells.
 *
 * Where consecutive edges lie decides how fast the walks are.
 */
#include "load.h"

enum { NODES = 60000, EDGES = 4, TURNS = 200, REWIRED_ONE_IN = 5 };

struct edge {
    struct edge *next;
    uint32_t target, weight;
};

struct node {
    struct edge *edges;
    char *label;
    uint32_t seen;
};

struct cell {
    struct cell *next;
    struct node *node;
};

static struct node *nodes[NODES];

static void connect(struct node *node, uint64_t *seed) {
    struct edge *edge = not_null(malloc(sizeof *edge));
    *edge = (struct edge){node->edges, (uint32_t)random_below(seed, NODES), 1};
    node->edges = edge;
}

static void disconnect(struct node *node) {
    while (node->edges) {
        struct edge *edge = node->edges;
        node->edges = edge->next;
        free(edge);
    }
}

static void grow(uint64_t *seed) {
    for (int i = 0; i < NODES; i++) {
        nodes[i] = not_null(calloc(1, sizeof *nodes[i]));
        nodes[i]->label = take(8 + random_below(seed, 48));
        for (int e = 0; e < EDGES; e++)
            connect(nodes[i], seed);
    }
}

static void enqueue(struct cell ***tail, struct node *node, uint32_t turn) {
    if (node->seen == turn)
        return;
    node->seen = turn;
    struct cell *cell = not_null(malloc(sizeof *cell));
    *cell = (struct cell){NULL, node};
    **tail = cell;
    *tail = &cell->next;
}

static uint64_t search(struct node *start, uint32_t turn) {
    struct cell *first = NULL, **tail = &first;
    uint64_t reached = 0;
    enqueue(&tail, start, turn);
    while (first) {
        for (struct edge *edge = first->node->edges; edge; edge = edge->next)
            enqueue(&tail, nodes[edge->target], turn);
        reached += inspect(first->node->label);
        struct cell *done = first;
        first = first->next;
        free(done);
        if (!first)
            tail = &first;
    }
    return reached;
}

static void rewire(uint64_t *seed) {
    for (int i = 0; i < NODES / REWIRED_ONE_IN; i++) {
        struct node *node = nodes[random_below(seed, NODES)];
        disconnect(node);
        for (int e = 0; e < EDGES; e++)
            connect(node, seed);
    }
}

int main(int argc, char **argv) {
    uint64_t seed = 1736, sum = 0;
    size_t turns = scaled(argc, argv, TURNS);
    grow(&seed);
    for (size_t turn = 1; turn <= turns; turn++) {
        sum += search(nodes[random_below(&seed, NODES)], (uint32_t)turn);
        rewire(&seed);
    }
    for (int i = 0; i < NODES; i++) {
        disconnect(nodes[i]);
        sum += drop(nodes[i]->label);
        free(nodes[i]);
    }
    return result(sum);
}
