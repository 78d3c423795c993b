/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader makes of a fixture box. Include after cmocka.h.
 */
#ifndef MAL_TESTS_BOX_SNAPSHOT_H
#define MAL_TESTS_BOX_SNAPSHOT_H

#include "box/reader.h"
#include "support/box_fixture.h"

/* Fails the test when there is none. Free with mal_snapshot_free. */
static inline struct mal_snapshot *snapshot_of(struct box_fixture *box) {
    struct mal_box_reader *reader;
    struct mal_snapshot *snapshot;
    assert_int_equal(mal_reader_from_memory(box_fixture_base(box), box_fixture_bytes(box), &reader),
                     0);
    assert_int_equal(mal_reader_snapshot(reader, &snapshot), 0);
    mal_reader_close(reader);
    return snapshot;
}

#endif
