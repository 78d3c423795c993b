/* SPDX-License-Identifier: Apache-2.0
 *
 * The scrapers that are remembered: an array in the order in which they asked, the oldest first.
 *
 * Taking removes, putting adds at the end, so the order needs no clock. While an answer is made
 * its marks are nobody else's; a second scraper of the same name that asks at that moment is
 * answered as a first one, and whoever is done last is remembered.
 *
 * SYNCHRONIZATION  `lock` guards everything. It is held for searching and moving, never while a
 * profile is made.
 */
#include "http/scrapers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct http_scraper scraper;
    struct view_marks *marks; /* owned */
};

struct http_scrapers {
    pthread_mutex_t lock;
    size_t count;
    size_t bytes; /* of all marks */
    struct entry entry[HTTP_SCRAPERS_MAX];
};

static size_t bytes_of(const struct view_marks *marks) {
    return sizeof *marks + marks->count * sizeof marks->mark[0];
}

int http_scrapers_create(struct http_scrapers **ret_scrapers) {
    struct http_scrapers *scrapers = calloc(1, sizeof *scrapers);
    if (scrapers == NULL)
        return -ENOMEM;
    pthread_mutex_init(&scrapers->lock, NULL);
    *ret_scrapers = scrapers;
    return 0;
}

void http_scrapers_destroy(struct http_scrapers *scrapers) {
    if (scrapers == NULL)
        return;
    for (size_t i = 0; i < scrapers->count; i++)
        free(scrapers->entry[i].marks);
    pthread_mutex_destroy(&scrapers->lock);
    free(scrapers);
}

static bool is_same(const struct http_scraper *a, const struct http_scraper *b) {
    return a->viewer_uid == b->viewer_uid && strcmp(a->id, b->id) == 0 &&
           strcmp(a->name, b->name) == 0;
}

/* Moves the later ones down. The marks are the caller's. */
static struct view_marks *remove_locked(struct http_scrapers *scrapers, size_t at) {
    struct view_marks *marks = scrapers->entry[at].marks;
    scrapers->count--;
    scrapers->bytes -= bytes_of(marks);
    memmove(&scrapers->entry[at], &scrapers->entry[at + 1],
            (scrapers->count - at) * sizeof scrapers->entry[0]);
    return marks;
}

static struct view_marks *find_locked(struct http_scrapers *scrapers,
                                      const struct http_scraper *scraper) {
    for (size_t i = 0; i < scrapers->count; i++)
        if (is_same(&scrapers->entry[i].scraper, scraper))
            return remove_locked(scrapers, i);
    return NULL;
}

struct view_marks *http_scrapers_take(struct http_scrapers *scrapers,
                                      const struct http_scraper *scraper) {
    if (scrapers == NULL)
        return NULL;
    pthread_mutex_lock(&scrapers->lock);
    struct view_marks *marks = find_locked(scrapers, scraper);
    pthread_mutex_unlock(&scrapers->lock);
    return marks;
}

void http_scrapers_put(struct http_scrapers *scrapers, const struct http_scraper *scraper,
                       struct view_marks *marks) {
    if (scrapers == NULL || marks == NULL || bytes_of(marks) > HTTP_SCRAPERS_BYTES_MAX) {
        free(marks);
        return;
    }
    pthread_mutex_lock(&scrapers->lock);
    free(find_locked(scrapers, scraper));
    while (scrapers->count == HTTP_SCRAPERS_MAX ||
           scrapers->bytes + bytes_of(marks) > HTTP_SCRAPERS_BYTES_MAX)
        free(remove_locked(scrapers, 0));
    scrapers->entry[scrapers->count++] = (struct entry){*scraper, marks};
    scrapers->bytes += bytes_of(marks);
    pthread_mutex_unlock(&scrapers->lock);
}
