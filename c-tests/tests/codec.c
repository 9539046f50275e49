/* Frames and acks as bytes: exactly those of the protocol. */
#include "support/bytes.h"
#include "support/check.h"
#include "support/crc32.h"

static nxf_entry entry_of(uint64_t vlsn, uint8_t entry_type, const void *payload, size_t payload_len)
{
    nxf_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.vlsn = vlsn;
    entry.entry_type = entry_type;
    entry.payload = (const uint8_t *)payload;
    entry.payload_len = payload_len;
    return entry;
}

static void a_frame_is_written_as_the_protocol_says(void **state)
{
    const nxf_entry entry = entry_of(0x0102030405060708, 13, "hello", 5);
    uint8_t frame[NXF_FRAME_HEADER_LEN + 5], expected[NXF_FRAME_HEADER_LEN + 5];
    size_t len = 0;
    (void)state;
    put_le(expected, entry.vlsn, 8);
    expected[8] = 13;
    put_le(expected + 9, 5, 4);
    put_le(expected + 13, crc32_of((const uint8_t *)"hello", 5), 4);
    memcpy(expected + 17, "hello", 5);
    assert_ok(nxf_frame_encode, &entry, frame, sizeof frame, &len);
    assert_int_equal(len, sizeof frame);
    assert_memory_equal(frame, expected, sizeof frame);
}

static void what_was_written_is_read(void **state)
{
    const nxf_entry entry = entry_of(UINT64_MAX, 255, "hello", 5);
    nxf_entry decoded;
    uint8_t frame[64];
    size_t len = 0;
    (void)state;
    assert_ok(nxf_frame_encode, &entry, frame, sizeof frame, &len);
    assert_ok(nxf_frame_decode, frame, len, &decoded);
    assert_true(decoded.vlsn == entry.vlsn && decoded.entry_type == 255 && decoded.lsn == 0);
    assert_int_equal(decoded.payload_len, 5);
    assert_ptr_equal(decoded.payload, frame + NXF_FRAME_HEADER_LEN);
}

static void a_frame_may_have_no_payload(void **state)
{
    const nxf_entry entry = entry_of(1, 30, NULL, 0);
    nxf_entry decoded;
    uint8_t frame[NXF_FRAME_HEADER_LEN];
    size_t len = 0;
    (void)state;
    assert_ok(nxf_frame_encode, &entry, frame, sizeof frame, &len);
    assert_int_equal(len, NXF_FRAME_HEADER_LEN);
    assert_ok(nxf_frame_decode, frame, len, &decoded);
    assert_int_equal(decoded.payload_len, 0);
}

static void a_buffer_that_is_too_small_says_what_is_needed(void **state)
{
    const nxf_entry entry = entry_of(1, 13, "hello", 5);
    uint8_t frame[NXF_FRAME_HEADER_LEN + 4];
    size_t len = 0;
    (void)state;
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "22", nxf_frame_encode, &entry, frame, sizeof frame, &len);
    assert_int_equal(len, 22);
    len = 0;
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "22", nxf_frame_encode, &entry, NULL, 0, &len);
    assert_int_equal(len, 22);
    assert_refused(NXF_E_BUFFER_TOO_SMALL, "8", nxf_ack_encode, 1, frame, 7);
}

static void what_is_no_frame_is_told_from_one(void **state)
{
    const nxf_entry entry = entry_of(1, 13, "hello", 5);
    nxf_entry decoded;
    uint8_t frame[64];
    size_t len = 0;
    (void)state;
    assert_ok(nxf_frame_encode, &entry, frame, sizeof frame, &len);
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_refused(NXF_E_PROTOCOL, "", nxf_frame_decode, frame, shorter, &decoded);
    assert_refused(NXF_E_PROTOCOL, "", nxf_frame_decode, frame, len + 1, &decoded);
    assert_refused(NXF_E_PROTOCOL, "", nxf_frame_decode, NULL, 0, &decoded);
    for (size_t at = 9; at < len; at++) {
        frame[at] ^= 1;
        assert_refused(NXF_E_PROTOCOL, "", nxf_frame_decode, frame, len, &decoded);
        frame[at] ^= 1;
    }
    assert_ok(nxf_frame_decode, frame, len, &decoded);
}

static void an_entry_too_large_for_a_frame_is_refused_by_vlsn(void **state)
{
    const size_t len = 64 * 1024 * 1024;
    uint8_t *payload = (uint8_t *)calloc(1, len);
    const nxf_entry entry = entry_of(42, 13, payload, len);
    nxf_error *err = NULL;
    uint64_t vlsn = 0;
    size_t needed;
    (void)state;
    assert_int_equal(nxf_frame_encode(&entry, NULL, 0, &needed, &err), NXF_E_ENTRY_TOO_LARGE);
    assert_true(nxf_error_vlsn(err, &vlsn));
    assert_int_equal(vlsn, 42);
    nxf_error_free(err);
    free(payload);
}

static void an_ack_is_eight_bytes_and_may_be_followed_by_others(void **state)
{
    uint8_t ack[NXF_ACK_LEN + 3];
    const uint8_t expected[NXF_ACK_LEN] = { 8, 7, 6, 5, 4, 3, 2, 1 };
    uint64_t vlsn = 0;
    (void)state;
    memset(ack, 0xff, sizeof ack);
    assert_ok(nxf_ack_encode, 0x0102030405060708, ack, sizeof ack);
    assert_memory_equal(ack, expected, NXF_ACK_LEN);
    assert_int_equal(ack[NXF_ACK_LEN], 0xff);
    assert_ok(nxf_ack_decode, ack, sizeof ack, &vlsn);
    assert_int_equal(vlsn, 0x0102030405060708);
    vlsn = 5;
    assert_refused(NXF_E_PROTOCOL, "7 bytes", nxf_ack_decode, ack, 7, &vlsn);
    assert_refused(NXF_E_PROTOCOL, "0 bytes", nxf_ack_decode, NULL, 0, &vlsn);
    assert_int_equal(vlsn, 5);
}

static void null_is_refused_by_name(void **state)
{
    const nxf_entry entry = entry_of(1, 13, NULL, 5);
    nxf_entry decoded;
    uint8_t buf[64] = { 0 };
    size_t len;
    uint64_t vlsn;
    (void)state;
    assert_refused(NXF_E_INVALID_ARGUMENT, "`entry`", nxf_frame_encode, NULL, buf, sizeof buf, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`payload`", nxf_frame_encode, &entry, buf, sizeof buf, &len);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`len`", nxf_frame_encode, &decoded, buf, sizeof buf, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`message`", nxf_frame_decode, NULL, 17, &decoded);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`entry`", nxf_frame_decode, buf, 17, NULL);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`buf`", nxf_ack_encode, 1, NULL, 8);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`message`", nxf_ack_decode, NULL, 8, &vlsn);
    assert_refused(NXF_E_INVALID_ARGUMENT, "`vlsn`", nxf_ack_decode, buf, 8, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_written_as_the_protocol_says),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_frame_may_have_no_payload),
        cmocka_unit_test(a_buffer_that_is_too_small_says_what_is_needed),
        cmocka_unit_test(what_is_no_frame_is_told_from_one),
        cmocka_unit_test(an_entry_too_large_for_a_frame_is_refused_by_vlsn),
        cmocka_unit_test(an_ack_is_eight_bytes_and_may_be_followed_by_others),
        cmocka_unit_test(null_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
