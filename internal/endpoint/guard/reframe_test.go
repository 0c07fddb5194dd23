package guard_test

import (
	"encoding/binary"
	"hash/crc32"
)

// reframe makes every record of a journal one of another format.
func reframe(data []byte, version uint32) []byte {
	const header = 24
	data = append([]byte(nil), data...)
	for _, slot := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if string(slot[:4]) != "FBJL" {
			continue
		}
		binary.LittleEndian.PutUint32(slot[4:], version)
		end := header + int(binary.LittleEndian.Uint32(slot[16:]))
		table := crc32.MakeTable(crc32.Castagnoli)
		binary.LittleEndian.PutUint32(slot[20:], crc32.Update(crc32.Checksum(slot[:20], table), table, slot[header:end]))
	}
	return data
}
