# Pins, PWM, a counter and the ADC.
import time

from machine import ADC, PWM, Counter, Pin

relay = Pin(25, Pin.OUT)
relay.on()
relay.value(1)
relay.off()
relay.toggle()
print("relay", relay())
pwm = PWM(Pin(26), freq=1000, duty_u16=16384)
pwm.duty_u16(32768)
print("pwm", pwm.freq(), pwm.duty_u16(), pwm.duty() + 1)
pwm.duty(1023)
pwm.deinit()
counter = Counter(0, Pin(34, Pin.IN))
time.sleep(2)
value = counter.value(0)
print("counter", value, counter.value())
adc = ADC(Pin(36), atten=ADC.ATTN_11DB)
print("adc", adc.read_uv(), adc.read_u16())
print("inputs", Pin(27, Pin.IN).value(), Pin(4, Pin.IN, Pin.PULL_UP).value(), Pin(5, Pin.IN, Pin.PULL_DOWN).value())
try:
    Pin(34, Pin.OUT)
except ValueError:
    print("input only")
