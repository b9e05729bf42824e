// The Go peer: net/http, a channel of 32 per stream. gopeer PORT
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var (
	lock    sync.RWMutex
	streams = map[chan []byte]bool{}
)

func monotonic() int64 {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

func events(answer http.ResponseWriter, request *http.Request) {
	mine := make(chan []byte, 32)
	lock.Lock()
	streams[mine] = true
	lock.Unlock()
	defer func() {
		lock.Lock()
		delete(streams, mine)
		lock.Unlock()
	}()
	answer.Header().Set("Content-Type", "text/event-stream")
	answer.WriteHeader(200)
	flusher := answer.(http.Flusher)
	flusher.Flush()
	for {
		select {
		case data := <-mine:
			fmt.Fprintf(answer, "event: product.updated\ndata: %s\n\n", data)
			flusher.Flush()
		case <-request.Context().Done():
			return
		}
	}
}

func publish(count, rate int) {
	began := time.Now()
	for number := 0; number < count; number++ {
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(number) * time.Second / time.Duration(rate))))
		}
		data := []byte(fmt.Sprintf(`{"id":1,"t":%d}`, 1000000000000000000+monotonic()))
		lock.RLock()
		for stream := range streams {
			select {
			case stream <- data:
			default:
			}
		}
		lock.RUnlock()
	}
}

func main() {
	http.HandleFunc("/events", events)
	http.HandleFunc("/go", func(answer http.ResponseWriter, request *http.Request) {
		count, _ := strconv.Atoi(request.URL.Query().Get("n"))
		rate, _ := strconv.Atoi(request.URL.Query().Get("rate"))
		go publish(count, rate)
	})
	http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)
}
