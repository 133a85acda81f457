// Package ether is an Ethernet segment in this process: a switch, and the stations whose
// cables are plugged into it.
package ether

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
)

// Address is an Ethernet address.
type Address [6]byte

// group reports whether frames to the address go to all stations, or to a group of them.
func (a Address) group() bool { return a[0]&1 != 0 }

// maxLearned bounds the addresses that a switch learns of each station, so that a station which
// invents addresses fills no memory.
const maxLearned = 256

// Switch forwards frames between stations as a bridge does that learns addresses (IEEE
// 802.1Q, clause 8). The zero value has no stations. Its methods may be called from several
// goroutines.
type Switch struct {
	mu       sync.RWMutex
	stations []*Station
	table    map[Address]*Station // through whose cable an address is reached

	capture capture
}

// add adds a station with its address.
func (s *Switch) add(st *Station, address Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.address, st.learned = address, 0
	s.stations = append(s.stations, st)
	if s.table == nil {
		s.table = make(map[Address]*Station)
	}
	if at := s.table[address]; at != nil && at.address != address {
		at.learned--
	}
	s.table[address] = st
}

// forward sends frames, each with its length before it, to their receivers, or to all other
// stations if those are unknown.
func (s *Switch) forward(from *Station, packets [][]byte) {
	s.capture.add(packets)
	var receivers []*Station
	send := func(to *Station, packet []byte) {
		to.out.put(packet)
		if !slices.Contains(receivers, to) {
			receivers = append(receivers, to)
		}
	}
	for _, packet := range packets {
		frame := packet[lengthSize:]
		to, source := Address(frame[:6]), Address(frame[6:12])
		s.mu.RLock()
		known := s.table[source] == from
		receiver := s.table[to]
		if to.group() || receiver == nil {
			for _, p := range s.stations {
				if p != from {
					send(p, packet)
				}
			}
		} else if receiver != from {
			send(receiver, packet)
		}
		s.mu.RUnlock()
		if !known {
			s.learn(from, source)
		}
	}
	for _, p := range receivers {
		p.out.flush(p.now)
	}
}

// learn notes through which cable an address is reached. That of a station stays where it is,
// so that no other station can take its frames away.
func (s *Switch) learn(from *Station, source Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.table[source]
	switch {
	case source.group(), from.learned >= maxLearned, !slices.Contains(s.stations, from), at != nil && at.address == source:
		return
	case at != nil:
		at.learned--
	}
	from.learned++
	s.table[source] = from
}

// remove forgets a station and all that is reached through its cable.
func (s *Switch) remove(st *Station) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stations = slices.DeleteFunc(s.stations, func(other *Station) bool { return other == st })
	maps.DeleteFunc(s.table, func(_ Address, at *Station) bool { return at == st })
}

// lengthSize is the size of the length before a frame.
const lengthSize = 4

func frameLength(packet []byte) uint32 { return binary.BigEndian.Uint32(packet) }
